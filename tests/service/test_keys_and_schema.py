"""Several processes on one empty database agree on one schema and one key; keys stay readable only with the right secret."""

import asyncio
import os
import sys

import pytest

from mintmark import ResourceServer
from service import migrations
from service.database import Database
from service.signing_keys import SigningKeyStore
from service.signing_keys.encryption import KeyUnreadable
from tests.service.conftest import ISSUER, Clock, Service, StartService, make_settings, own_database

pytestmark = pytest.mark.anyio

OTHER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


async def jwks(service: Service) -> dict[str, list[dict[str, str]]]:
    answer = await service.http.get("/.well-known/jwks.json")
    keys: dict[str, list[dict[str, str]]] = answer.json()
    return keys


async def test_many_that_migrate_an_empty_database_at_once_make_one_schema_and_one_key(server_dsn: str) -> None:
    async with own_database(server_dsn) as dsn:
        command = (sys.executable, "-m", "service.cli", "migrate")
        environment = {**os.environ, "MINTMARK_DATABASE_URL": dsn}
        started = [await asyncio.create_subprocess_exec(*command, env=environment) for _ in range(6)]
        assert [0] * 6 == [await process.wait() for process in started]
        stores = []
        for _ in range(6):
            database = Database(size=1)
            stores.append((database, SigningKeyStore(database, make_settings(dsn).encryption_keys)))

        async def ensure(database: Database, store: SigningKeyStore) -> set[str]:
            async with database.open(dsn):
                await store.ensure_active("ES256", 1.0)
                return {stored.key.kid for stored in await store.load()}

        seen = await asyncio.gather(*(ensure(database, store) for database, store in stores))
        assert 1 == len(set().union(*seen))


async def test_a_fresh_database_has_no_accounts(server_dsn: str) -> None:
    async with own_database(server_dsn) as dsn:
        await migrations.migrate(dsn)
        database = Database(size=1)
        async with database.open(dsn):
            assert 0 == await database.fetch_value("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM clients)")


async def test_the_schema_can_be_taken_back_and_made_again(server_dsn: str) -> None:
    from alembic import command

    async with own_database(server_dsn) as dsn:
        await migrations.migrate(dsn)
        config = migrations._config()
        config.attributes["dsn"] = dsn
        await asyncio.to_thread(command.downgrade, config, "base")
        await migrations.migrate(dsn)


async def test_published_keys_have_thumbprints_for_names_and_no_private_members(service: Service) -> None:
    from mintmark.jose import thumbprint

    keys = (await jwks(service))["keys"]
    assert keys
    for key in keys:
        assert thumbprint(key) == key["kid"]
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
        assert "sig" == key["use"]


async def test_keys_and_metadata_may_be_kept_for_five_minutes(service: Service) -> None:
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
        assert "public, max-age=300" == (await service.http.get(path)).headers["cache-control"]


async def test_metadata_is_consistent(service: Service) -> None:
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    assert (ISSUER, f"{ISSUER}/token", f"{ISSUER}/.well-known/jwks.json") == (
        metadata["issuer"], metadata["token_endpoint"], metadata["jwks_uri"],
    )  # fmt: skip
    assert {"password", "refresh_token", "client_credentials"} == set(metadata["grant_types_supported"])


async def test_an_issuer_with_a_path_is_found_where_rfc_8414_says(start_service: StartService) -> None:
    service = await start_service(issuer="https://example.com/auth")
    metadata = (await service.http.get("/.well-known/oauth-authorization-server/auth")).json()
    assert ("https://example.com/auth", "https://example.com/auth/token") == (metadata["issuer"], metadata["token_endpoint"])


async def test_a_change_of_algorithm_keeps_the_old_key_published_and_its_tokens_valid(
    server_dsn: str, start_service: StartService
) -> None:
    async with own_database(server_dsn) as dsn:
        await migrations.migrate(dsn)
        clock = Clock()
        old = await start_service(at=dsn, clock=clock)
        user, client = await old.add_user(), await old.add_client()
        before = (await old.sign_in(client, user)).json()
        new = await start_service(at=dsn, clock=clock, signing_algorithm="RS256")
        after = (await new.refresh(client, before["refresh_token"])).json()
        keys = await jwks(new)
        assert {"RS256", "ES256"} == {key["alg"] for key in keys["keys"]}
        orders = ResourceServer(issuer=ISSUER, audience="orders", jwks=keys, clock=clock)
        for tokens in (before, after):
            assert user.id == (await orders.verify(tokens["access_token"])).sub


async def test_a_signing_key_is_unreadable_without_its_encryption_key(dsn: str, service: Service) -> None:
    await jwks(service)
    for wrong in (f"1:{OTHER_KEY}", f"2:{OTHER_KEY}"):
        store = SigningKeyStore(service.database, make_settings(dsn, key_encryption_keys=wrong).encryption_keys)
        with pytest.raises(KeyUnreadable, match="encryption key"):
            await store.load()


async def test_a_service_that_cannot_read_its_key_is_not_ready_and_says_503(
    start_service: StartService, service: Service
) -> None:
    blind = await start_service(key_encryption_keys=f"1:{OTHER_KEY}")
    client = await service.add_client()
    for answer in (
        await blind.http.get("/readyz"),
        await blind.http.get("/.well-known/jwks.json"),
        await blind.token(grant_type="password", client_id=client.client_id),
    ):
        assert 503 == answer.status_code
        assert "retry-after" in answer.headers


async def test_a_service_that_starts_before_the_schema_exists_becomes_ready_after_the_migration(
    server_dsn: str, start_service: StartService
) -> None:
    async with own_database(server_dsn) as dsn:
        early = await start_service(at=dsn)
        assert 200 == (await early.http.get("/livez")).status_code
        not_ready = await early.http.get("/readyz")
        assert 503 == not_ready.status_code
        assert "mintmark-service migrate" in not_ready.json()["reason"]
        assert 503 == (await early.token(grant_type="password")).status_code
        await migrations.migrate(dsn)
        async with asyncio.timeout(20):
            while (await early.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
