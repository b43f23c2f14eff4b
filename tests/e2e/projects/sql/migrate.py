"""A small migrator as people write it: every pending file in a transaction of its own, with its name.

Arguments: the driver (psycopg or psycopg2), `prepared` for the extended protocol, `together` for
one transaction around all files."""

import importlib
import os
import pathlib
import sys

driver = importlib.import_module(sys.argv[1])
prepared = "prepared" in sys.argv
together = "together" in sys.argv


def statements(text):
    """A prepared statement is one statement; these files have each on a line that ends with `;`."""
    return [piece for piece in text.split(";\n") if piece.strip()] if prepared else [text]


connection = driver.connect(os.environ["DATABASE_URL"])
cursor = connection.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
connection.commit()
for path in sorted(pathlib.Path("migrations").glob("*.sql")):
    cursor.execute("SELECT 1 FROM migrations WHERE name = %s", (path.name,))
    if cursor.fetchone() is None:
        for statement in statements(path.read_text()):
            cursor.execute(statement, **({"prepare": True} if prepared else {}))
        cursor.execute("INSERT INTO migrations VALUES (%s)", (path.name,))
    if not together:
        connection.commit()
connection.commit()
connection.close()
