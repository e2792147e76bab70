"""Two roles as docs/operations.md makes them: one migrates, and one serves, which may create and alter nothing."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from authmint_service.accounts import AccountStore
from authmint_service.administration import add_client_secret, delete_client, remove_client_secret, update_client
from authmint_service.administration.restore import finish_restore
from authmint_service.clients import ClientSecretStore, ClientStore, new_client_secret
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from authmint_service.leases import Leases
from authmint_service.migrations import head, migrate, migrate_if_behind
from authmint_service.readiness import PROVE_RIGHT_TO_WRITE
from authmint_service.retention import delete_old_rows
from authmint_service.sessions import SessionLifetimes, SessionStore, prune
from tests.actors import OPERATOR
from tests.service.conftest import Service, StartService, make_first_key, make_settings, migrated_database, own_database
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
            assert await store.list(limit=100)
        await update_client(database, client.client_id, {"scopes": frozenset({"other"})}, NOW, actor=OPERATOR)
        robot = await service.add_client(secret)
        added = await add_client_secret(database, robot.client_id, new_client_secret(), NOW, actor=OPERATOR)
        await remove_client_secret(database, robot.client_id, added.id, NOW, actor=OPERATOR)
        await ClientSecretStore(database).mark_used([(robot.client_id, robot.secret_hashes[0], NOW)])
        await delete_client(database, robot.client_id, NOW, actor=OPERATOR)
        await finish_restore(database, NOW, actor=OPERATOR)
        await Leases(database).take("a task")
        await delete_old_rows(database)
        assert 0 < await prune(
            SessionStore(database, SessionLifetimes(grace=30, idle=60, absolute=60, access_token=300)), NOW + 400 * DAY, pause=0
        )
        assert head() == await migrate(roles.serve)
        await migrate_if_behind(database, roles.serve)
        await service.stop()


MAY_READ = ("GRANT USAGE ON SCHEMA authmint TO {0}", "GRANT SELECT ON ALL TABLES IN SCHEMA authmint TO {0}")
MAY_WRITE = (*MAY_READ, "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA authmint TO {0}")
CASES: dict[str, tuple[Sequence[str], str, str]] = {
    "it may connect": ((), "refused", "permission denied for schema authmint"),
    "it may read": (MAY_READ, "refused", "permission denied for table"),
    "its database is read-only": (
        (*MAY_WRITE, "ALTER ROLE {0} SET default_transaction_read_only = on"), "read_only", "read-only transaction",
    ),
    "no connection is left": ((*MAY_WRITE, "ALTER ROLE {0} CONNECTION LIMIT 0"), "exhausted", "too many connections for role"),
    "it may not log in": ((*MAY_WRITE, "ALTER ROLE {0} NOLOGIN"), "refused", "is not permitted to log in"),
    "it may write": (MAY_WRITE, "ok", ""),
}  # fmt: skip
"""What a role is given, the status of the database in `/readyz`, and the words of the database in the log."""


@asynccontextmanager
async def role_with(statements: Sequence[str], dsn: str) -> AsyncIterator[str]:
    """The address of the same database for a new role; `statements`: what it is given, `{0}` is its name."""
    name = f"authmint_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(dsn)
    try:
        for statement in ("CREATE ROLE {0} LOGIN PASSWORD 'x'", *statements):
            await connection.execute(statement.format(name))
        yield as_role(dsn, name, "x")
    finally:
        await connection.execute(f"DROP OWNED BY {name} CASCADE")
        await connection.execute(f"DROP ROLE {name}")
        await connection.close()


@pytest.mark.parametrize("case", CASES)
async def test_readyz_proves_that_the_role_may_write(
    case: str, server_dsn: str, start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kind: a probe that is green while no request can be served. Its text says nothing of names: it is for everyone."""
    statements, status, words = CASES[case]
    async with migrated_database(server_dsn) as at, role_with(statements, at) as address:
        await make_first_key(at)
        owner = await start_service(at=at)
        account, client = await owner.add_account(), await owner.add_client()
        service = await start_service(at=address)
        answer = await service.http.get("/readyz")
        database = answer.json()["checks"]["database"]
        assert (200 if status == "ok" else 503, status) == (answer.status_code, database["status"])
        signed_in = await service.sign_in(client, account)
        assert (answer.status_code, status != "ok") == (signed_in.status_code, "Retry-After" in signed_in.headers)
        for one in (service, owner):
            await one.stop()
    assert words in capfd.readouterr().err
    assert str(urlsplit(address).username) not in answer.text


async def test_readyz_is_red_while_the_database_fails_at_writes_and_green_again_afterwards(
    server_dsn: str, start_service: StartService, polls_often: None
) -> None:
    """A full disk refuses no right: only a write that is made shows it, which is the heartbeat of each process."""
    async with migrated_database(server_dsn) as at:
        await make_first_key(at)
        owner = await asyncpg.connect(at)
        await owner.execute(
            "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$"
        )
        await owner.execute("CREATE TRIGGER full_disk BEFORE INSERT ON authmint.processes EXECUTE FUNCTION public.fail()")
        service = await start_service(at=at)
        answer = await service.http.get("/readyz")
        assert (503, "failed") == (answer.status_code, answer.json()["checks"]["database"]["status"])
        await owner.execute("DROP TRIGGER full_disk ON authmint.processes")
        await owner.close()
        async with asyncio.timeout(10):
            while 200 != (await service.http.get("/readyz")).status_code:
                await asyncio.sleep(0.02)
        await service.stop()


async def test_the_proof_of_the_right_to_write_writes_nothing(service: Service) -> None:
    async with service.database.transaction() as connection:
        assert await connection.fetchval(PROVE_RIGHT_TO_WRITE)
        assert await connection.fetchval("SELECT txid_current_if_assigned()") is None


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
