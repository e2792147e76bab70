"""One database for the service and an application that uses alembic itself, with tables of the same names."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.config import Config

from alembic import command
from authmint_service import migrations
from tests.service.conftest import StartService, make_first_key, own_database
from tests.service.test_database_roles import as_role
from tests.service.test_failing_parts import requests

pytestmark = pytest.mark.anyio

ENVIRONMENT = """
import asyncio
import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from alembic import context

def upgrade(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def run():
    dsn = context.config.attributes["dsn"]
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()

asyncio.run(run())
"""
MIGRATION = """
from alembic import op

revision, down_revision, branch_labels, depends_on = "{revision}", None, None, None

def upgrade():
    op.execute("CREATE TABLE users (name text)")
    op.execute("CREATE TABLE sessions (name text)")

def downgrade():
    op.execute("DROP TABLE users, sessions")
"""
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1 ORDER BY table_name"


class Application:
    """An application with one migration of its own."""

    def __init__(self, folder: Path, dsn: str, revision: str) -> None:
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENVIRONMENT)
        (folder / "versions" / "first.py").write_text(MIGRATION.format(revision=revision))
        self._config = Config()
        self._config.set_main_option("script_location", str(folder))
        self._config.attributes["dsn"] = dsn

    async def upgrade(self) -> None:
        await asyncio.to_thread(command.upgrade, self._config, "head")

    async def downgrade(self) -> None:
        await asyncio.to_thread(command.downgrade, self._config, "base")


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def role_of_an_application(dsn: str) -> AsyncIterator[str]:
    """The address of the same database for a new role that may create tables in `public`."""
    name, password = f"application_{secrets.token_hex(6)}", secrets.token_hex(12)
    async with connected(dsn) as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            await connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {name}")
            yield as_role(dsn, name, password)
        finally:
            await connection.execute(f"DROP OWNED BY {name} CASCADE")
            await connection.execute(f"DROP ROLE {name}")


# A revision that only the application knows, and one that has the name of one of ours.
@pytest.mark.parametrize("revision", ["a1b2c3", "0001"])
@pytest.mark.parametrize("comes_first", ["application", "service"])
async def test_migrations_of_the_service_and_of_an_application_do_not_meet(
    server_dsn: str, tmp_path: Path, revision: str, comes_first: str
) -> None:
    async with own_database(server_dsn) as dsn, connected(dsn) as connection, role_of_an_application(dsn) as own:
        application = Application(tmp_path / "migrations", own, revision)
        if comes_first == "application":
            await application.upgrade()
        assert migrations.head() == await migrations.migrate(dsn)
        await application.upgrade()
        assert ["alembic_version", "sessions", "users"] == [row[0] for row in await connection.fetch(TABLES, "public")]
        assert {"accounts", "alembic_version", "sessions"} <= {row[0] for row in await connection.fetch(TABLES, "authmint")}
        assert revision == await connection.fetchval("SELECT version_num FROM public.alembic_version")
        assert migrations.head() == await connection.fetchval("SELECT version_num FROM authmint.alembic_version")

        await application.downgrade()
        assert migrations.head() == await migrations.migrate(dsn)
        await application.upgrade()
        config = migrations.alembic_config()
        config.attributes["dsn"] = dsn
        await asyncio.to_thread(command.downgrade, config, "base")
        assert ["alembic_version", "sessions", "users"] == [row[0] for row in await connection.fetch(TABLES, "public")]
        assert ["alembic_version"] == [row[0] for row in await connection.fetch(TABLES, "authmint")]


async def test_every_request_is_served_beside_an_application_whose_tables_have_the_same_names(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with own_database(server_dsn) as dsn, connected(dsn) as connection:
        await migrations.migrate(dsn)
        for (table,) in await connection.fetch(TABLES, "authmint"):
            await connection.execute(f"CREATE TABLE public.{table} ()")
        # The role of an embedded server has the name of the schema, so that even unqualified names would be found in it.
        database = urlsplit(dsn).path.removeprefix("/")
        await connection.execute(f"ALTER DATABASE {database} SET search_path = public")
        await make_first_key(dsn)
        service = await start_service(at=dsn)
        for request in await requests(service, secret):
            answer = await request()
            assert answer.status_code in {200, 204}, (answer.request.url, answer.text)
        await service.stop()
