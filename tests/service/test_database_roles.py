"""Two roles as docs/operations.md makes them: one migrates, and one serves, which may create and alter nothing."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from authmint_service.accounts import AccountStore
from authmint_service.administration import finish_restore, update_client_scopes
from authmint_service.clients import ClientStore
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from authmint_service.leases import Leases
from authmint_service.migrations import head, migrate, migrate_if_behind
from authmint_service.retention import delete_old_rows
from authmint_service.sessions import SessionLifetimes, SessionStore, prune
from tests.actors import OPERATOR
from tests.service.conftest import StartService, make_settings, own_database
from tests.service.signing import DAY, NOW, policy, store_of
from tests.service.test_failing_parts import requests

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
FORBIDDEN = (
    "CREATE TABLE authmint.mine ()",
    "CREATE TABLE public.mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE SCHEMA mine",
    "CREATE VIEW authmint.mine AS SELECT 1",
    "CREATE SEQUENCE authmint.mine",
    "CREATE FUNCTION authmint.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION authmint.check_client_secrets() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE INDEX ON authmint.sessions (generation)",
    "CREATE ROLE mine",
    "ALTER TABLE authmint.sessions ADD COLUMN mine integer",
    "ALTER TABLE authmint.client_secrets DISABLE TRIGGER client_secrets_live",
    "ALTER SCHEMA authmint RENAME TO mine",
    "DROP TABLE authmint.sessions",
    "DROP SCHEMA authmint CASCADE",
    "TRUNCATE authmint.sessions",
)


@dataclass(frozen=True)
class Roles:
    """The addresses of one database for its administrator and the two roles."""

    administrator: str
    migrate: str
    serve: str


@asynccontextmanager
async def two_roles(server_dsn: str) -> AsyncIterator[Roles]:
    """A new database with two new roles, made by the statements of the document."""
    block = re.search(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    suffix, password = secrets.token_hex(6), secrets.token_hex(12)
    names = {name: f"{name}_{suffix}" for name in ("authmint_migrate", "authmint_serve")}
    statements = re.sub("|".join(names), lambda found: names[found[0]], block[1])
    statements = re.sub("'the (first|second) password'", f"'{password}'", statements)
    async with own_database(server_dsn) as dsn:
        database = urlsplit(dsn).path.removeprefix("/")
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(re.sub("DATABASE authmint", f"DATABASE {database}", statements))
            yield Roles(dsn, *(as_role(dsn, name, password) for name in names.values()))
        finally:
            for name in names.values():
                await connection.execute(f"DROP OWNED BY {name} CASCADE")
            await connection.execute(f"DROP ROLE {', '.join(names.values())}")
            await connection.close()


def as_role(dsn: str, role: str, password: str) -> str:
    """The address of the same database for another role."""
    url = urlsplit(dsn)
    return urlunsplit(url._replace(netloc=f"{role}:{password}@{url.netloc.rpartition('@')[2]}"))


async def test_the_serving_role_is_enough_for_every_request_and_command(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with two_roles(server_dsn) as roles:
        await migrate(roles.migrate)
        service = await start_service(at=roles.serve)
        for request in await requests(service, secret):
            answer = await request()
            assert answer.status_code in {200, 204}, (answer.request.url, answer.text)
        database, account, client = service.database, await service.add_account(), await service.add_client()
        for store, name in ((AccountStore(database), account.id), (ClientStore(database), client.client_id)):
            await store.disable(name, NOW, actor=OPERATOR)
            await store.enable(name, NOW, actor=OPERATOR)
            assert await store.list()
        await update_client_scopes(ClientStore(database), client.client_id, ["other"], NOW, actor=OPERATOR)
        await finish_restore(database, NOW, actor=OPERATOR)
        await Leases(database).take("a task")
        await delete_old_rows(database)
        assert 0 < await prune(
            SessionStore(database, SessionLifetimes(grace=30, idle=60, absolute=60, access_token=300)), NOW + 400 * DAY, pause=0
        )
        assert head() == await migrate(roles.serve)
        await migrate_if_behind(database, roles.serve)
        await service.stop()


async def test_the_serving_role_makes_and_changes_signing_keys(server_dsn: str) -> None:
    async with two_roles(server_dsn) as roles:
        await migrate(roles.migrate)
        async with (database := Database(size=2)).open(roles.serve):
            store = store_of(database, make_settings(roles.serve))
            (first,) = (await store.rotate_if_due(policy(), NOW, actor=OPERATOR)).created
            following, schedule = await store.announce_new(policy(), NOW + DAY, actor=OPERATOR)
            assert {first, following} == {key.kid for key in await store.load()}
            assert (0, []) == await store.reencrypt()
            await store.revoke(following, NOW + DAY + 1, actor=OPERATOR)
            await store.erase(schedule.active_from + 400 * DAY)


async def test_the_serving_role_can_neither_create_nor_alter_anything(server_dsn: str) -> None:
    async with two_roles(server_dsn) as roles:
        await migrate(roles.migrate)
        connection = await asyncpg.connect(roles.serve)
        try:
            for statement in FORBIDDEN:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_the_serving_role_cannot_migrate_an_empty_schema(server_dsn: str) -> None:
    async with two_roles(server_dsn) as roles:
        with pytest.raises(DatabaseUnavailable, match="permission denied"):
            await migrate(roles.serve)


async def test_the_serving_role_may_use_the_tables_of_later_migrations(server_dsn: str) -> None:
    async with two_roles(server_dsn) as roles:
        await migrate(roles.migrate)
        async with (owner := Database(size=1)).open(roles.migrate):
            await owner.execute("CREATE TABLE authmint.later (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
        async with (database := Database(size=1)).open(roles.serve):
            await database.execute("INSERT INTO authmint.later (name) VALUES ('new')")
            await database.execute("UPDATE authmint.later SET name = 'newer'")
            assert "newer" == await database.fetch_value("SELECT name FROM authmint.later")
            await database.execute("DELETE FROM authmint.later")
