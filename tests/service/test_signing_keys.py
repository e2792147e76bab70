"""Rotation of keys in running services on a real database; revoked keys, damaged keys."""

import asyncio
import json

import asyncpg
import pytest

from authmint import ResourceServer
from authmint_service.change_feed import ChangeKind
from authmint_service.errors import InvalidValue
from authmint_service.signing_keys import State, rotate_emergency
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS, BACKDATE_SECONDS
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Clock, StartService, make_settings
from tests.service.signing import (
    DAY,
    NOW,
    empty_store,
    jwks_of,
    kid_of,
    kids_of,
    new_encryption_key,
    policy,
    replace_leaked_keys,
    seen,
    signs,
    store_of,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("polls_often")]


async def test_many_stores_that_find_the_next_keys_due_make_one_for_each_line(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        stores = [store_of(database, make_settings(dsn)) for _ in range(8)]
        lines = policy("ES256", "RS256")

        async def rotate(now: float) -> set[str]:
            done = await asyncio.gather(*(one.rotate_if_due(lines, now, actor=OPERATOR) for one in stores))
            created = [one.created for one in done if one]
            assert [{"ES256", "RS256"}] == [set(one.values()) for one in created]
            return set(created[0])

        first, later = await rotate(NOW), NOW + 30 * DAY
        second = await rotate(later)
        keys = await store.load()
        assert (first | second, 4) == ({key.kid for key in keys}, len(keys))
        states = sorted((key.algorithm, key.schedule.state(later)) for key in keys)
        assert [(alg, state) for alg in ("ES256", "RS256") for state in (State.ACTIVE, State.NEXT)] == states


async def test_the_database_refuses_two_open_keys_of_one_line(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, database, store):
        await store.rotate_if_due(policy(), NOW, actor=OPERATOR)
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.execute(
                "INSERT INTO authmint.signing_keys (kid, algorithm, encryption_key_id, published_at, active_from)"
                " VALUES ('x', 'ES256', 1, now(), now())"
            )


async def test_keys_rotate_by_themselves_every_thirty_days(server_dsn: str, start_service: StartService, secret: str) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        clock = Clock()
        service = await start_service(at=dsn, clock=clock)
        (first,) = await kids_of(service)
        began = clock.now
        clock.now = began + 30 * DAY - ANNOUNCE_SECONDS - BACKDATE_SECONDS - 1
        await asyncio.sleep(0.2)
        assert {first} == await kids_of(service)
        clock.now += 2
        async with asyncio.timeout(10):
            while len(await kids_of(service)) < 2:
                await asyncio.sleep(0.02)
        (second,) = await kids_of(service) - {first}
        assert first == await signs(service, secret)
        clock.now = began + 30 * DAY + 2
        assert second == await signs(service, secret)
        assert {first, second} == await kids_of(service)
        clock.now += policy().retention_seconds
        assert {second} == await kids_of(service)


async def test_a_change_of_algorithm_is_announced_and_has_both_keys_published(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        clock = Clock()
        old = await start_service(at=dsn, clock=clock)
        user, client = await old.add_account(), await old.add_client(default_resources=("orders",))
        before = (await old.sign_in(client, user)).json()
        new = await start_service(at=dsn, clock=clock, signing_algorithm="RS256", signing_rsa_bits=2048)
        assert {"RS256", "ES256"} == {key["alg"] for key in (await jwks_of(new))["keys"]}
        # The old process opens its own line again, once.
        async with asyncio.timeout(10):
            while len(published := await kids_of(old)) < 3 or published != await kids_of(new):
                await asyncio.sleep(0.02)
        early = (await new.refresh(client, before["refresh_token"])).json()
        orders = ResourceServer(issuer=ISSUER, audience="orders", jwks=await jwks_of(new), clock=clock)
        assert user.id == (await orders.verify(early["access_token"])).sub
        # The old process wants its own algorithm to go on, so there is a third key, which is announced as long.
        async with asyncio.timeout(10):
            while len(await kids_of(old)) < 3:
                await asyncio.sleep(0.02)
        clock.now += ANNOUNCE_SECONDS + 1
        orders = ResourceServer(issuer=ISSUER, audience="orders", jwks=await jwks_of(old), clock=clock)
        after = (await old.refresh(client, early["refresh_token"])).json()
        assert user.id == (await orders.verify(after["access_token"])).sub
        issued = [kid_of(tokens["access_token"]) for tokens in (before, early, after)]
        assert (issued[0], 2) == (issued[1], len(set(issued)))


async def test_an_emergency_publishes_another_key_signs_with_it_and_revokes_all_others(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        await store.announce_new(policy(), NOW, actor=OPERATOR)
        leaked = {key.kid for key in await store.load()}
        old = await signs(service, secret)

        async def pause(seconds: float) -> None:
            # No verifier can meet a key that the process which it asks does not publish yet.
            published = {key.kid for key in await store.load()}
            await seen(service, published)
            assert (1, old) == (len(published - leaked), await signs(service, secret))
            service.clock.now += seconds
            assert {await signs(service, secret)} == published - leaked

        done = await rotate_emergency(store, policy(), service.clock.now, actor=OPERATOR, pause=pause)
        assert leaked == set(done.revoked)
        await seen(service, set(done.created))
        assert [await signs(service, secret)] == list(done.created)
        count = await database.fetch_value("SELECT count(*) FROM authmint.signing_keys WHERE encrypted_key IS NOT NULL")
        assert 1 == count
        changes = await database.fetch_all("SELECT name FROM authmint.changes WHERE kind = 'signing_key' AND takes")
        assert leaked == {row["name"] for row in changes}


async def test_the_service_itself_refuses_a_token_of_a_revoked_key_as_soon_as_it_has_read_of_it(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        service = await start_service(at=dsn)
        user, client, resource = await service.add_account(), await service.add_client(), await service.add_client(secret)
        token = (await service.sign_in(client, user)).json()["access_token"]

        async def answers() -> tuple[int, bool]:
            form = {"token": token, "client_id": resource.client_id, "client_secret": secret}
            account = await service.http.get("/account/v1", headers={"Authorization": f"Bearer {token}"})
            return account.status_code, (await service.http.post("/introspect", data=form)).json()["active"]

        # Twice: a token that was verified before is not remembered beyond its key.
        assert [(200, True)] * 2 == [await answers() for _ in range(2)]
        await replace_leaked_keys(store, service.clock)
        await service.read_changes()
        async with asyncio.timeout(10):
            while kid_of(token) in await kids_of(service):
                await asyncio.sleep(0.02)
        assert (401, False) == await answers()


async def test_two_emergencies_at_the_same_time_leave_the_key_of_the_later_one(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, _, store):
        await store.rotate_if_due(policy(), NOW - 1000, actor=OPERATOR)
        later = []

        async def pause(seconds: float) -> None:
            async def wait_for_the_first(_: float) -> None:
                pass

            done = await rotate_emergency(store, policy(), NOW + 1, actor=OPERATOR, pause=wait_for_the_first)
            later.append(done)

        first = await rotate_emergency(store, policy(), NOW, actor=OPERATOR, pause=pause)
        assert [] == list(first.revoked)
        active = [key.kid for key in await store.load() if key.schedule.state(NOW + 9) is State.ACTIVE]
        assert list(later[0].created) == active


async def test_the_key_that_was_published_last_stays_whichever_emergency_ends_last(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, _, store):
        await store.rotate_if_due(policy(), NOW - 1000, actor=OPERATOR)
        published, go_on = asyncio.Event(), asyncio.Event()

        async def pause(_: float) -> None:
            published.set()
            await go_on.wait()

        later = asyncio.create_task(rotate_emergency(store, policy(), NOW + 1, actor=OPERATOR, pause=pause))
        await published.wait()
        # It asked for the time before the other one, and publishes after that has published.
        last = await rotate_emergency(store, policy(), NOW, actor=OPERATOR, pause=lambda _: asyncio.sleep(0))
        go_on.set()
        await later
        kept = list(last.created)
        assert kept == [key.kid for key in await store.load() if key.schedule.state(NOW + 9) is State.ACTIVE]


async def test_a_revoked_key_leaves_the_published_ones_and_the_one_that_signs_goes_on(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        service = await start_service(at=dsn)
        (active,) = await kids_of(service)
        announced, _ = await store.announce_new(policy(), NOW, actor=OPERATOR)
        await seen(service, {active, announced})
        with pytest.raises(InvalidValue, match="--emergency"):
            await store.revoke(active, NOW, actor=OPERATOR)
        await store.revoke(announced, NOW, actor=OPERATOR)
        await seen(service, {active})
        service.clock.now += ANNOUNCE_SECONDS + policy().retention_seconds
        assert active == await signs(service, secret)
        for kid, words in ((announced, "revoked already"), ("nobody", "no signing key")):
            with pytest.raises(InvalidValue, match=words):
                await store.revoke(kid, NOW, actor=OPERATOR)


async def test_a_database_that_takes_no_writes_has_keys_that_sign_although_the_next_is_overdue(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        await store.rotate_if_due(policy(), NOW - 90 * DAY, actor=OPERATOR)
        name = await database.fetch_value("SELECT current_database()")
        await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        service = await start_service(at=dsn)
        assert 1 == len(await kids_of(service))
        checks = (await service.http.get("/readyz")).json()["checks"]
        assert ("read_only", "ok") == (checks["database"]["status"], checks["signing_keys"]["status"])


async def test_the_check_of_keys_survives_an_unexpected_error(
    server_dsn: str, start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (first,) = await kids_of(service)
        await database.execute("ALTER TABLE authmint.signing_keys ALTER COLUMN algorithm TYPE integer USING 7")
        await service.change(ChangeKind.SIGNING_KEY, first, "SELECT 1")
        async with asyncio.timeout(10):
            while "error.unexpected" not in capfd.readouterr().err:
                await asyncio.sleep(0.02)
        await database.execute("ALTER TABLE authmint.signing_keys ALTER COLUMN algorithm TYPE text USING 'ES256'")
        announced, _ = await store.announce_new(policy(), NOW, actor=OPERATOR)
        # Until the next check, no key may be usable.
        async with asyncio.timeout(10):
            while 200 != (await service.http.get("/.well-known/jwks.json")).status_code:
                await asyncio.sleep(0.02)
        await seen(service, {first, announced})


async def test_the_private_half_of_a_withdrawn_key_is_deleted(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (first,) = await kids_of(service)
        await store.announce_new(policy(), NOW, actor=OPERATOR)
        service.clock.now += ANNOUNCE_SECONDS + policy().retention_seconds + 1
        async with asyncio.timeout(10):
            while (
                await database.fetch_value("SELECT encrypted_key FROM authmint.signing_keys WHERE kid = $1", first) is not None
            ):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "damage",
    [
        "encrypted_key = substring(encrypted_key FOR 40)",
        "encrypted_key = decode('', 'hex')",
        "encrypted_key = set_byte(encrypted_key, 30, 255 - get_byte(encrypted_key, 30))",
        "encryption_key_id = 9",
    ],
)
async def test_a_damaged_key_is_not_used_is_named_in_the_log_and_the_others_go_on(
    server_dsn: str, start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (active,) = await kids_of(service)
        announced, _ = await store.announce_new(policy(), NOW, actor=OPERATOR)
        await seen(service, {active, announced})
        statement = f"UPDATE authmint.signing_keys SET {damage} WHERE kid = $1"
        await service.change(ChangeKind.SIGNING_KEY, announced, statement, announced)
        await seen(service, {active})
        assert active == await signs(service, secret)
        # When it becomes active, no other key replaces it.
        service.clock.now += ANNOUNCE_SECONDS + 1
        client = await service.add_client(secret)
        refused = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
        assert (503, True) == (refused.status_code, "retry-after" in refused.headers)
        assert 503 == (await service.http.get("/readyz")).status_code
        logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        problems = [line for line in logged if line["event"] == "signing_key.unusable"]
        assert [announced] == [line["kid"] for line in problems]
        assert announced in problems[0]["reason"]
        # An emergency needs none of the old ones.
        done = await replace_leaked_keys(store, service.clock)
        await seen(service, set(done.created))
        assert [await signs(service, secret)] == list(done.created)


@pytest.mark.parametrize("algorithm", ["ES384", "none"])
async def test_a_key_that_was_moved_to_another_line_is_not_used_and_its_own_line_gets_another(
    server_dsn: str, start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str], algorithm: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        service = await start_service(at=dsn)
        (active,) = await kids_of(service)
        announced, _ = await store.announce_new(policy(), NOW, actor=OPERATOR)
        await seen(service, {active, announced})
        statement = "UPDATE authmint.signing_keys SET algorithm = $2 WHERE kid = $1"
        await service.change(ChangeKind.SIGNING_KEY, announced, statement, announced, algorithm)
        async with asyncio.timeout(10):
            while announced in (kids := await kids_of(service)) or len(kids) < 2:
                await asyncio.sleep(0.02)
        assert active == await signs(service, secret)
        service.clock.now += ANNOUNCE_SECONDS + 1
        assert await signs(service, secret) in kids - {active}
        logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        assert [announced] == [line["kid"] for line in logged if line["event"] == "signing_key.unusable"]


async def test_a_row_that_pretends_to_be_another_key_is_not_used(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, database, _):
        service = await start_service(at=dsn)
        await service.change(ChangeKind.SIGNING_KEY, "mine", "UPDATE authmint.signing_keys SET kid = 'mine'")
        async with asyncio.timeout(10):
            while 503 != (await service.http.get("/.well-known/jwks.json")).status_code:
                await asyncio.sleep(0.02)


async def test_without_a_usable_key_none_is_made_in_secret_and_everything_is_503(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, _):
        await start_service(at=dsn)
        for wrong in (new_encryption_key(), new_encryption_key(2)):
            blind = await start_service(at=dsn, key_encryption_keys=wrong)
            client = await blind.add_client()
            for answer in (
                await blind.http.get("/readyz"),
                await blind.http.get("/.well-known/jwks.json"),
                await blind.token(grant_type="password", client_id=client.client_id),
            ):
                assert (503, True) == (answer.status_code, "retry-after" in answer.headers)
        assert 1 == await database.fetch_value("SELECT count(*) FROM authmint.signing_keys")


async def test_an_encryption_key_is_rotated_by_naming_two_and_encrypting_again(server_dsn: str) -> None:
    first, second = new_encryption_key(1), new_encryption_key(2)
    async with empty_store(server_dsn) as (dsn, database, _):
        old = store_of(database, make_settings(dsn, key_encryption_keys=first))
        both = store_of(database, make_settings(dsn, key_encryption_keys=f"{second},{first}"))
        new = store_of(database, make_settings(dsn, key_encryption_keys=second))
        await old.rotate_if_due(policy(), NOW, actor=OPERATOR)
        assert [True] == [key.signer is None for key in await new.load()]
        assert (0, 1) == ((await new.reencrypt())[0], len((await new.reencrypt())[1]))
        assert (1, []) == await both.reencrypt()
        assert (0, []) == await both.reencrypt()
        assert [True] == [key.signer is not None for key in await new.load()]
        assert [True] == [key.signer is None for key in await old.load()]
