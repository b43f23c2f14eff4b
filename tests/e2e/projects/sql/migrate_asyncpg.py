"""A transaction for each file, with asyncpg. The argument says how: execute (a Query) or fetch (Parse,
Describe and Flush, then Bind and Execute)."""

import asyncio
import os
import pathlib
import sys

import asyncpg


async def migrate():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)")
    for path in sorted(pathlib.Path("migrations").glob("*.sql")):
        async with connection.transaction():
            if await connection.fetch("SELECT FROM migrations WHERE name = $1", path.name):
                continue
            if sys.argv[1] == "execute":
                await connection.execute(path.read_text())
            else:
                for statement in filter(str.strip, path.read_text().split(";\n")):
                    await connection.fetch(statement)
            await connection.execute("INSERT INTO migrations VALUES ($1)", path.name)
    await connection.close()


asyncio.run(migrate())
