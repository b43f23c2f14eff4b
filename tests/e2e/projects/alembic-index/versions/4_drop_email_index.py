from alembic import op

revision = "4"
down_revision = "3"


def upgrade():
    op.drop_index("users_email_idx", postgresql_concurrently=True)
