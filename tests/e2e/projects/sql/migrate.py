"""A small migrator as people write it: every pending file in a transaction of its own, with its name.

Arguments: the driver (psycopg, psycopg2 or pg8000), `prepared` for the extended protocol,
`together` for one transaction around all files, `autocommit` for none. Against a second one: `xact` and
`lock` are advisory locks of a transaction and of the session, `beside` one of another connection's transaction."""

import importlib
import os
import pathlib
import sys
from urllib.parse import urlsplit

driver = importlib.import_module(sys.argv[1])
# pg8000 knows the extended protocol only.
prepared = "prepared" in sys.argv or sys.argv[1] == "pg8000"
together = "together" in sys.argv


def connect():
    if sys.argv[1] != "pg8000":
        return driver.connect(os.environ["DATABASE_URL"])
    url = urlsplit(os.environ["DATABASE_URL"])
    return driver.connect(url.username, url.hostname, None, url.port, url.path[1:], url.password)


def statements(text):
    """A prepared statement is one statement; these files have each on a line that ends with `;`."""
    return [piece for piece in text.split(";\n") if piece.strip()] if prepared else [text]


connection = connect()
cursor = connection.cursor()
if "lock" in sys.argv:
    cursor.execute("SELECT pg_advisory_lock(1)")
    connection.commit()
if "beside" in sys.argv:
    beside = connect()
    beside.execute("SELECT pg_try_advisory_xact_lock(%s)", (1,))
cursor.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
connection.commit()
if "autocommit" in sys.argv:
    connection.autocommit = True
if "xact" in sys.argv:
    cursor.execute("SELECT pg_advisory_xact_lock(2)")
for path in sorted(pathlib.Path("migrations").glob("*.sql")):
    cursor.execute("SELECT 1 FROM migrations WHERE name = %s", (path.name,))
    if cursor.fetchone() is None:
        for statement in statements(path.read_text()):
            cursor.execute(statement, **({"prepare": True} if "prepared" in sys.argv else {}))
        cursor.execute("INSERT INTO migrations VALUES (%s)", (path.name,))
    if not together:
        connection.commit()
connection.commit()
if "beside" in sys.argv:
    beside.commit()
connection.close()
