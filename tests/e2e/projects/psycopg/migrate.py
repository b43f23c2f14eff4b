"""A small migrator as people write it: every pending file in a transaction of its own, with its name.

Arguments: the driver (psycopg or psycopg2), and `prepared` for the extended protocol."""

import importlib
import os
import pathlib
import sys

driver = importlib.import_module(sys.argv[1])
prepared = "prepared" in sys.argv

connection = driver.connect(os.environ["DATABASE_URL"])
cursor = connection.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
connection.commit()
for path in sorted(pathlib.Path("migrations").glob("*.sql")):
    cursor.execute("SELECT 1 FROM migrations WHERE name = %s", (path.name,))
    if cursor.fetchone() is None:
        if prepared and "CONCURRENTLY" in path.read_text():
            cursor.execute(path.read_text(), prepare=True)
        else:
            cursor.execute(path.read_text())
        cursor.execute("INSERT INTO migrations VALUES (%s)", (path.name,))
    connection.commit()
connection.close()
