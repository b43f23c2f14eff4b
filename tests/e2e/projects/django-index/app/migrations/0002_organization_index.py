from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Django itself refuses AddIndexConcurrently without this.
    atomic = False
    dependencies = [("app", "0001_users")]
    operations = [
        AddIndexConcurrently(
            "user",
            models.Index(fields=["organization_id", "-created_at"], name="users_organization_idx"),
        )
    ]
