"""A transaction for each file, with peewee."""

import os
import pathlib

from playhouse.db_url import connect

database = connect(os.environ["DATABASE_URL"])
database.execute_sql("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
for path in sorted(pathlib.Path("migrations").glob("*.sql")):
    with database.atomic():
        if not database.execute_sql("SELECT FROM migrations WHERE name = %s", (path.name,)).rowcount:
            database.execute_sql(path.read_text())
            database.execute_sql("INSERT INTO migrations VALUES (%s)", (path.name,))
database.close()
