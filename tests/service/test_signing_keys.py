"""Keys that follow each other in running services on a real database; damaged ones; what is published, and how."""

import asyncio
import json
import secrets
import sys
import time

import asyncpg
import httpx2
import pytest

from mintmark import ResourceServer
from mintmark.errors import TemporarilyUnavailable
from mintmark.jose import Parser, SigningKey, VerifyingKey, read_payload, thumbprint
from service.app import create_app
from service.errors import Invalid
from service.signing_keys import KeyRing, Schedule, State, StoredKey, replace_leaked_keys
from service.signing_keys.schedule import ANNOUNCED, SINCE
from service.signing_keys.signer import LocalSigner
from tests.service.conftest import ISSUER, Clock, Service, StartService, make_settings
from tests.service.signing import DAY, empty_store, jwks_of, kid_of, kids_of, new_encryption_key, policy, store_of

pytestmark = pytest.mark.anyio

NOW = Clock().now


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services look at the keys at once, and not within three seconds."""
    monkeypatch.setattr("service.upkeep.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("service.upkeep.RETRY_SECONDS", 0.02)


async def seen(service: Service, kids: set[str]) -> None:
    """Waits until the service publishes exactly these."""
    async with asyncio.timeout(10):
        while await kids_of(service) != kids:
            await asyncio.sleep(0.02)


async def signs(service: Service, secret: str) -> str:
    """The key of a token that the service issues now."""
    client = await service.add_client(secret)
    answer = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
    assert 200 == answer.status_code, answer.text
    return kid_of(answer.json()["access_token"])


async def test_many_stores_that_find_the_next_key_due_make_one(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        stores = [store_of(database, make_settings(dsn)) for _ in range(8)]
        first = [kid for kid in await asyncio.gather(*(one.rotate_if_due(policy(), NOW) for one in stores)) if kid]
        later = NOW + 30 * DAY
        second = [kid for kid in await asyncio.gather(*(one.rotate_if_due(policy(), later) for one in stores)) if kid]
        keys = await store.load()
        assert (1, 1, [*second, *first]) == (len(first), len(second), [key.kid for key in keys])
        assert [State.NEXT, State.ACTIVE] == [key.schedule.state(later) for key in keys]


async def test_the_database_lets_no_two_keys_sign_until_further_notice(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, database, store):
        await store.rotate_if_due(policy(), NOW)
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.execute(
                "INSERT INTO signing_keys (kid, algorithm, encryption_key_id, published_at, active_from)"
                " VALUES ('x', 'ES256', 1, now(), now())"
            )


async def test_keys_rotate_by_themselves_every_thirty_days(server_dsn: str, start_service: StartService, secret: str) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        clock = Clock()
        service = await start_service(at=dsn, clock=clock)
        (first,) = await kids_of(service)
        began = clock.now
        clock.now = began + 30 * DAY - ANNOUNCED - SINCE - 1
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
        clock.now += policy().kept
        assert {second} == await kids_of(service)


async def test_a_change_of_algorithm_is_announced_and_has_both_keys_published(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        clock = Clock()
        old = await start_service(at=dsn, clock=clock)
        user, client = await old.add_user(), await old.add_client()
        before = (await old.sign_in(client, user)).json()
        new = await start_service(at=dsn, clock=clock, signing_algorithm="RS256", rsa_key_bits=2048)
        assert {"RS256", "ES256"} == {key["alg"] for key in (await jwks_of(new))["keys"]}
        await seen(old, await kids_of(new))
        early = (await new.refresh(client, before["refresh_token"])).json()
        orders = ResourceServer(issuer=ISSUER, audience="orders", jwks=await jwks_of(new), clock=clock)
        assert user.id == (await orders.verify(early["access_token"])).sub
        clock.now += ANNOUNCED + 1
        after = (await old.refresh(client, early["refresh_token"])).json()
        assert user.id == (await orders.verify(after["access_token"])).sub
        issued = [kid_of(tokens["access_token"]) for tokens in (before, early, after)]
        assert (issued[0], 2) == (issued[1], len(set(issued)))


async def test_an_emergency_signs_with_another_key_at_once_revokes_all_others_and_raises_the_not_before(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        await store.announce_new(policy(), NOW)
        leaked = {key.kid for key in await store.load()}
        raised = []

        async def raise_not_before(moment: float) -> None:
            raised.append(moment)

        done = await replace_leaked_keys(store, policy(), NOW + 5, raise_not_before)
        assert (leaked, [NOW + 5]) == (set(done.revoked), raised)
        service.clock.now += 6
        await seen(service, {done.kid})
        assert done.kid == await signs(service, secret)
        kept = await database.fetch_value("SELECT count(*) FROM signing_keys WHERE encrypted_key IS NOT NULL")
        assert 1 == kept


async def test_a_revoked_key_leaves_the_published_ones_and_the_one_that_signs_goes_on(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        service = await start_service(at=dsn)
        (active,) = await kids_of(service)
        announced, _ = await store.announce_new(policy(), NOW)
        await seen(service, {active, announced})
        with pytest.raises(Invalid, match="--emergency"):
            await store.revoke(active, NOW)
        await store.revoke(announced, NOW)
        await seen(service, {active})
        service.clock.now += ANNOUNCED + policy().kept
        assert active == await signs(service, secret)
        for kid, words in ((announced, "revoked already"), ("nobody", "no signing key")):
            with pytest.raises(Invalid, match=words):
                await store.revoke(kid, NOW)


async def test_a_database_that_takes_no_writes_has_keys_that_sign_although_the_next_is_overdue(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        await store.rotate_if_due(policy(), NOW - 90 * DAY)
        name = await database.fetch_value("SELECT current_database()")
        await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        service = await start_service(at=dsn)
        assert 1 == len(await kids_of(service))
        assert 200 == (await service.http.get("/readyz")).status_code


async def test_the_upkeep_of_keys_outlives_an_error_that_nobody_foresaw(
    server_dsn: str, start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (first,) = await kids_of(service)
        await database.execute("ALTER TABLE signing_keys ALTER COLUMN algorithm TYPE integer USING 7")
        async with asyncio.timeout(10):
            while "unexpected error" not in capfd.readouterr().err:
                await asyncio.sleep(0.02)
        await database.execute("ALTER TABLE signing_keys ALTER COLUMN algorithm TYPE text USING 'ES256'")
        announced, _ = await store.announce_new(policy(), NOW)
        # Until it looks again, no key may be usable.
        async with asyncio.timeout(10):
            while 200 != (await service.http.get("/.well-known/jwks.json")).status_code:
                await asyncio.sleep(0.02)
        await seen(service, {first, announced})


async def test_the_private_half_of_a_withdrawn_key_is_deleted(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (first,) = await kids_of(service)
        await store.announce_new(policy(), NOW)
        service.clock.now += ANNOUNCED + policy().kept + 1
        async with asyncio.timeout(10):
            while await database.fetch_value("SELECT encrypted_key FROM signing_keys WHERE kid = $1", first) is not None:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "damage",
    [
        "encrypted_key = substring(encrypted_key FOR 40)",
        "encrypted_key = decode('', 'hex')",
        "encrypted_key = set_byte(encrypted_key, 30, 255 - get_byte(encrypted_key, 30))",
        "algorithm = 'ES384'",
        "algorithm = 'none'",
        "encryption_key_id = 9",
    ],
)
async def test_a_damaged_key_is_not_used_the_log_says_which_and_the_others_go_on(
    server_dsn: str, start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        (active,) = await kids_of(service)
        announced, _ = await store.announce_new(policy(), NOW)
        await seen(service, {active, announced})
        await database.execute(f"UPDATE signing_keys SET {damage} WHERE kid = $1", announced)
        await seen(service, {active})
        assert active == await signs(service, secret)
        # When its turn comes, no other key stands in for it.
        service.clock.now += ANNOUNCED + 1
        client = await service.add_client(secret)
        refused = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
        assert (503, True) == (refused.status_code, "retry-after" in refused.headers)
        assert 503 == (await service.http.get("/readyz")).status_code
        said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        complaints = [line for line in said if line["event"] == "signing key not used"]
        assert [announced] == [line["kid"] for line in complaints]
        assert announced in complaints[0]["reason"]
        # An emergency needs none of the old ones.
        done = await replace_leaked_keys(store, policy(), service.clock.now, ignore)
        await seen(service, {done.kid})
        assert done.kid == await signs(service, secret)


async def ignore(_: float) -> None:
    pass


async def test_a_row_that_pretends_to_be_another_key_is_not_used(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, database, _):
        service = await start_service(at=dsn)
        await database.execute("UPDATE signing_keys SET kid = 'mine'")
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
        assert 1 == await database.fetch_value("SELECT count(*) FROM signing_keys")


async def test_an_encryption_key_is_rotated_by_naming_two_and_encrypting_again(server_dsn: str) -> None:
    first, second = new_encryption_key(1), new_encryption_key(2)
    async with empty_store(server_dsn) as (dsn, database, _):
        old = store_of(database, make_settings(dsn, key_encryption_keys=first))
        both = store_of(database, make_settings(dsn, key_encryption_keys=f"{second},{first}"))
        new = store_of(database, make_settings(dsn, key_encryption_keys=second))
        await old.rotate_if_due(policy(), NOW)
        assert [True] == [key.signer is None for key in await new.load()]
        assert (0, 1) == ((await new.reencrypt())[0], len((await new.reencrypt())[1]))
        assert (1, []) == await both.reencrypt()
        assert (0, []) == await both.reencrypt()
        assert [True] == [key.signer is not None for key in await new.load()]
        assert [True] == [key.signer is None for key in await old.load()]


async def test_published_keys_have_thumbprints_for_names_and_no_private_members(service: Service) -> None:
    keys = (await jwks_of(service))["keys"]
    assert keys
    for key in keys:
        assert thumbprint(key) == key["kid"]
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
        assert "sig" == key["use"]


async def test_keys_metadata_and_history_come_from_memory_with_a_tag_and_may_be_kept(service: Service) -> None:
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/key-history"):
        first = await service.http.get(path)
        assert "public, max-age=300, stale-while-revalidate=60" == first.headers["cache-control"]
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}'):
            again = await service.http.get(path, headers={"If-None-Match": known})
            assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"])
            assert first.headers["cache-control"] == again.headers["cache-control"]
        assert 200 == (await service.http.get(path, headers={"If-None-Match": '"other"'})).status_code


async def test_any_page_may_read_keys_and_metadata_and_nothing_else(start_service: StartService) -> None:
    for listed in ("", "https://app.example"):
        service = await start_service(cors_origins=listed)
        origin = {"Origin": "https://anywhere.example"}
        for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
            answer = await service.http.get(path, headers=origin)
            assert "*" == answer.headers["access-control-allow-origin"]
            assert "access-control-allow-credentials" not in answer.headers
        for path in ("/key-history", "/revocations", "/livez", "/readyz", "/metrics", "/openapi.json", "/users/me", "/token"):
            answer = await service.http.get(path, headers=origin)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("off", "words"), [(11.0, "11 seconds ahead of"), (-11.0, "11 seconds behind"), (9.0, "")])
async def test_a_clock_that_is_off_is_told_in_readyz_and_in_the_log_and_decides_nothing_about_keys(
    server_dsn: str, capfd: pytest.CaptureFixture[str], off: float, words: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        app = create_app(make_settings(dsn), clock=lambda: time.time() + off)
        transport = httpx2.ASGITransport(app=app)
        async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            ready, metrics = await http.get("/readyz"), (await http.get("/metrics")).text
        (key,) = await store.load()
    assert 200 == ready.status_code
    assert words in ready.json().get("warning", "")
    assert bool(words) == ("warning" in ready.json())
    assert bool(words) == ("clock is not the database's" in capfd.readouterr().err)
    assert abs(off - figure(metrics, "mintmark_clock_ahead_seconds")) < 2
    # Published at the database's time, whose clock is this machine's.
    assert abs(key.schedule.published_at - time.time()) < 9


def figure(metrics: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))


async def test_metrics_tell_the_age_of_the_active_key_the_days_to_rotation_and_the_keys_by_state(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        service.clock.now += 3 * DAY

        async def metrics() -> str:
            answer = await service.http.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.text

        text = await metrics()
        assert 3 * DAY == pytest.approx(figure(text, "mintmark_signing_key_age_seconds"), abs=2)
        assert 27 == pytest.approx(figure(text, "mintmark_signing_key_rotation_days"), abs=0.001)
        announced, _ = await store.announce_new(policy(), service.clock.now)
        await seen(service, await kids_of(service) | {announced})
        text = await metrics()
        assert ANNOUNCED / DAY == pytest.approx(figure(text, "mintmark_signing_key_rotation_days"))
        states = {"next": 1, "active": 1, "retired": 0, "withdrawn": 0, "revoked": 0, "unusable": 0}
        assert states == {state: figure(text, f'mintmark_signing_keys{{state="{state}"}}') for state in states}


class Elsewhere:
    """A key that is not in this process, as a KMS would have it: asked over the network, and away at times."""

    def __init__(self) -> None:
        self._held = LocalSigner(SigningKey.generate())
        self.kid, self.algorithm = self._held.kid, self._held.algorithm
        self.is_away = False

    def public_jwk(self) -> dict[str, str]:
        return self._held.public_jwk()

    async def sign(self, signing_input: bytes) -> bytes:
        await asyncio.sleep(0.001)
        if self.is_away:
            raise TemporarilyUnavailable("The key management service does not answer.")
        return await self._held.sign(signing_input)


async def test_a_key_that_is_held_elsewhere_can_sign(service: Service) -> None:
    held = Elsewhere()
    ring = KeyRing(service.clock)
    with pytest.raises(TemporarilyUnavailable):
        _ = ring.signer
    ring.replace([StoredKey(held.kid, held.algorithm, Schedule(published_at=0, active_from=0), 1, signer=held)])
    token = await ring.signer.sign({"iss": ISSUER})
    key = ring.find(held.kid)
    assert isinstance(key, VerifyingKey)
    assert {"iss": ISSUER} == read_payload(key.verify(Parser().parse(token)))
    assert held.kid in ring.jwks.content.decode()
    held.is_away = True
    with pytest.raises(TemporarilyUnavailable):
        await ring.signer.sign({"iss": ISSUER})


async def test_hs256_signs_with_the_shared_secret_and_publishes_no_key(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    shared = secrets.token_urlsafe(32)
    async with empty_store(server_dsn) as (dsn, database, _):
        service = await start_service(at=dsn, signing_algorithm="HS256", shared_secret=shared)
        user, client = await service.add_user(), await service.add_client()
        tokens = (await service.sign_in(client, user)).json()
        orders = ResourceServer(issuer=ISSUER, audience="orders", shared_secret=shared, clock=service.clock)
        assert user.id == (await orders.verify(tokens["access_token"])).sub
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert 200 == (await service.http.get("/users/me", headers=bearer)).status_code
        assert 200 == (await service.http.get("/readyz")).status_code
        assert 404 == (await service.http.get("/.well-known/jwks.json")).status_code
        metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
        assert not {"jwks_uri", "key_history_uri"} & metadata.keys()
        assert 0 == await database.fetch_value("SELECT count(*) FROM signing_keys")
        # Not beside an asymmetric key: a service that has those believes no HS256 token, and this one no other.
        other = await start_service(at=dsn)
        assert 401 == (await other.http.get("/users/me", headers=bearer)).status_code
        theirs = (await other.sign_in(client, user)).json()["access_token"]
        assert 401 == (await service.http.get("/users/me", headers={"Authorization": f"Bearer {theirs}"})).status_code


async def test_two_processes_follow_each_other_and_print_how_soon(
    server_dsn: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.upkeep.LOOK_SECONDS", 3.0)
    async with empty_store(server_dsn) as (dsn, _, store):
        one, other = await start_service(at=dsn), await start_service(at=dsn)
        assert await kids_of(one) == await kids_of(other)
        announced, _ = await store.announce_new(policy(), NOW)
        started = asyncio.get_running_loop().time()
        wanted = await kids_of(one) | {announced}
        await asyncio.gather(seen(one, wanted), seen(other, wanted))
        took = asyncio.get_running_loop().time() - started
    sys.stdout.write(json.dumps({"followed_after_seconds": round(took, 1)}) + "\n")
