"""Run the migrations through asyncpg, in one transaction that only one process at a time may be in.

All of it is in the schema `authmint`, alembic's own table too. So the database may be shared with an application that uses
alembic itself.
"""

import asyncio

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from alembic import context
from authmint_service.database import SCHEMA, connect, database_url
from authmint_service.errors import SettingsError
from authmint_service.settings import load_database_settings

LOCK = 0x617574686D696E74  # "authmint" in ASCII. Any number serves, as long as it never changes.


async def run() -> None:
    dsn = context.config.attributes.get("dsn")
    if dsn is not None:
        await migrate(dsn)
        return
    try:
        settings = load_database_settings()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    async with database_url(settings) as own:
        await migrate(own)


async def migrate(dsn: str) -> None:
    # asyncpg gets the DSN as it is, because SQLAlchemy reads such URLs in its own way.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: connect(dsn), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


def upgrade(connection: Connection) -> None:
    context.configure(connection=connection, version_table_schema=SCHEMA)
    with context.begin_transaction():
        # The lock of a killed process is free within a second, even if its statement would have taken longer.
        connection.execute(text("SET LOCAL client_connection_check_interval = '1s'"))
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        # Held to the end of the transaction, also when this process is killed. A second process reads the revision after it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # Created here, not by the first migration: alembic creates its own table before it. The right to create schemas is not
        # needed if an administrator has created this one.
        if connection.scalar(text("SELECT to_regnamespace(:schema) IS NULL"), {"schema": SCHEMA}):
            connection.execute(CreateSchema(SCHEMA))
        # If a newer version has migrated the database already, nothing changes.
        known = {script.revision for script in context.script.walk_revisions()}
        if {*context.get_context().get_current_heads()} <= known:
            context.run_migrations()
        context.config.attributes["revision"] = context.get_context().get_current_revision()


if context.is_offline_mode():
    raise SystemExit("There is no offline mode: the lock that keeps two migrations apart needs the database.")
asyncio.run(run())
