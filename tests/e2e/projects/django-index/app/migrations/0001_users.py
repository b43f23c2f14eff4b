from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("organization_id", models.BigIntegerField()),
                ("email", models.TextField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "users",
                "indexes": [models.Index(fields=["email"], name="users_email_idx")],
            },
        ),
        migrations.RunSQL("""
            INSERT INTO users (organization_id, email, created_at)
            VALUES (1, 'first@example.org', now())
        """),
    ]
