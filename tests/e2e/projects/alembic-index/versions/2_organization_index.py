import sqlalchemy
from alembic import op

revision = "2"
down_revision = "1"


def upgrade():
    op.create_index(
        "users_organization_idx",
        "users",
        ["organization_id", sqlalchemy.text("created_at DESC")],
        postgresql_concurrently=True,
    )
