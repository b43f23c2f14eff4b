"""ALEMBIC_DRIVER is psycopg2 or asyncpg; ALEMBIC_EACH makes a transaction for each migration."""

import asyncio
import os

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.ext.asyncio import create_async_engine

driver = os.environ.get("ALEMBIC_DRIVER", "psycopg2")
url = os.environ["DATABASE_URL"].replace("postgresql:", f"postgresql+{driver}:", 1)


def run(connection):
    context.configure(
        connection=connection, transaction_per_migration="ALEMBIC_EACH" in os.environ
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_async():
    async with create_async_engine(url, poolclass=pool.NullPool).connect() as connection:
        await connection.run_sync(run)


if driver == "asyncpg":
    asyncio.run(run_async())
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        run(connection)
