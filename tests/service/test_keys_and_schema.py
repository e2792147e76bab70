"""Several processes on one empty database agree on one schema and one key; metadata and readiness."""

import asyncio
import os
import sys

import pytest

from authmint_service import migrations
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from authmint_service.signing_keys import SigningKeyStore
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Service, StartService, make_settings, own_database
from tests.service.signing import policy

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.long)])
@pytest.mark.slow
async def test_many_that_migrate_an_empty_database_at_once_make_one_schema_and_one_key(server_dsn: str, count: int) -> None:
    async with own_database(server_dsn) as dsn:
        command = (sys.executable, "-m", "authmint_service.cli", "migrate")
        environment = {**os.environ, "AUTHMINT_DATABASE_URL": dsn}
        started = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(count)]
        assert [0] * count == [await process.wait() for process in started]

        async def first_key() -> set[str]:
            database = Database(size=1)
            store = SigningKeyStore(database, make_settings(dsn).encryption_keys)
            async with database.open(dsn):
                await store.rotate_if_due(policy(), 1.0, actor=OPERATOR)
                return {stored.kid for stored in await store.load()}

        seen = await asyncio.gather(*(first_key() for _ in range(6)))
        assert 1 == len(set().union(*seen))


async def test_a_fresh_database_has_no_accounts(server_dsn: str) -> None:
    async with own_database(server_dsn) as dsn:
        await migrations.migrate(dsn)
        database = Database(size=1)
        async with database.open(dsn):
            assert 0 == await database.fetch_value(
                "SELECT (SELECT count(*) FROM authmint.accounts) + (SELECT count(*) FROM authmint.clients)"
            )


async def test_the_schema_can_be_taken_back_and_made_again(server_dsn: str) -> None:
    from alembic import command

    async with own_database(server_dsn) as dsn:
        await migrations.migrate(dsn)
        config = migrations.alembic_config()
        config.attributes["dsn"] = dsn
        await asyncio.to_thread(command.downgrade, config, "base")
        await migrations.migrate(dsn)


async def test_a_migration_that_the_database_refuses_is_one_line_without_its_statements(server_dsn: str) -> None:
    async with own_database(server_dsn) as dsn:
        read_only = f"{dsn}{'&' if '?' in dsn else '?'}default_transaction_read_only=on"
        with pytest.raises(DatabaseUnavailable) as raised:
            await migrations.migrate(read_only)
    for text in (str(raised.value), str(raised.value.__cause__)):
        assert "read-only transaction" in text
        assert "\n" not in text
        assert "SQL:" not in text


async def test_metadata_is_consistent(service: Service) -> None:
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    assert (ISSUER, f"{ISSUER}/token", f"{ISSUER}/.well-known/jwks.json") == (
        metadata["issuer"], metadata["token_endpoint"], metadata["jwks_uri"],
    )  # fmt: skip
    assert {"password", "refresh_token", "client_credentials"} == set(metadata["grant_types_supported"])


async def test_a_service_that_starts_before_the_schema_exists_becomes_ready_after_the_migration(
    server_dsn: str, start_service: StartService
) -> None:
    async with own_database(server_dsn) as dsn:
        early = await start_service(at=dsn)
        assert 200 == (await early.http.get("/livez")).status_code
        not_ready = await early.http.get("/readyz")
        assert 503 == not_ready.status_code
        assert "authmint-service migrate" in not_ready.json()["checks"]["schema"]["message"]
        assert 503 == (await early.token(grant_type="password")).status_code
        await migrations.migrate(dsn)
        async with asyncio.timeout(20):
            while (await early.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
