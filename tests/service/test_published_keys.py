"""The published keys and their caching; skewed clocks, metrics, keys in another process, a shared secret."""

import asyncio
import json
import sys
import time

import httpx2
import pytest

from authmint.errors import TemporarilyUnavailable
from authmint.jose import Parser, SigningKey, VerifyingKey, read_payload, thumbprint
from authmint_service.app import create_app
from authmint_service.signing_keys import RotatingKeyRing, Schedule, StoredKey
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS
from authmint_service.signing_keys.signer import LocalSigner
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Service, StartService, make_settings, open_http
from tests.service.signing import (
    DAY,
    NOW,
    empty_store,
    jwks_of,
    kids_of,
    policy,
    seen,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("polls_often")]


async def test_published_keys_have_thumbprints_for_names_and_no_private_members(service: Service) -> None:
    keys = (await jwks_of(service))["keys"]
    assert keys
    for key in keys:
        assert thumbprint(key) == key["kid"]
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
        assert "sig" == key["use"]


async def test_keys_metadata_and_history_come_from_memory_with_a_tag_and_may_be_cached(service: Service) -> None:
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
        for path in (
            "/key-history",
            "/revocation-list",
            "/livez",
            "/readyz",
            "/openapi.json",
            "/account/v1",
            "/token",
        ):
            answer = await service.http.get(path, headers=origin)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("off", "words"), [(11.0, "11 seconds ahead of"), (-11.0, "11 seconds behind"), (9.0, "")])
async def test_a_skewed_clock_is_reported_in_readyz_and_in_the_log_and_does_not_affect_keys(
    server_dsn: str, capfd: pytest.CaptureFixture[str], off: float, words: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        app = create_app(make_settings(dsn), clock=lambda: time.time() + off)
        transport = httpx2.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http,
            open_http(app.state.internal) as internal,
        ):
            ready, metrics = await http.get("/readyz"), (await internal.get("/metrics")).text
        (key,) = await store.load()
    assert 200 == ready.status_code
    clock = ready.json()["checks"]["clock"]
    assert words in clock.get("message", "")
    assert ("skewed" if words else "ok") == clock["status"]
    assert bool(words) == ("clock.skewed" in capfd.readouterr().err)
    assert abs(off - value_of(metrics, "authmint_clock_offset_seconds")) < 2
    # Published at the database's time, whose clock is this machine's.
    assert abs(key.schedule.published_at - time.time()) < 9


def value_of(metrics: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))


async def test_metrics_have_the_age_of_the_active_key_the_seconds_to_rotation_and_the_keys_by_state(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        service = await start_service(at=dsn)
        service.clock.now += 3 * DAY

        async def metrics() -> str:
            answer = await service.internal("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.text

        text = await metrics()
        assert 3 * DAY == pytest.approx(value_of(text, 'authmint_signing_key_age_seconds{algorithm="ES256"}'), abs=2)
        assert 27 * DAY == pytest.approx(value_of(text, 'authmint_signing_key_next_rotation_seconds{algorithm="ES256"}'), abs=2)
        announced, _ = await store.announce_new(policy(), service.clock.now, actor=OPERATOR)
        await seen(service, await kids_of(service) | {announced})
        text = await metrics()
        left = value_of(text, 'authmint_signing_key_next_rotation_seconds{algorithm="ES256"}')
        assert ANNOUNCE_SECONDS == pytest.approx(left)
        states = {"next": 1, "active": 1, "retired": 0, "withdrawn": 0, "revoked": 0, "unusable": 0}
        name = 'authmint_signing_keys{{algorithm="ES256",state="{}"}}'
        assert states == {state: value_of(text, name.format(state)) for state in states}


class RemoteSigner:
    """A signer outside this process, such as a KMS: called over the network, and unavailable at times."""

    def __init__(self) -> None:
        self._held = LocalSigner(SigningKey.generate())
        self.kid, self.algorithm = self._held.kid, self._held.algorithm
        self.is_unavailable = False

    def public_jwk(self) -> dict[str, str]:
        return self._held.public_jwk()

    async def sign(self, signing_input: bytes) -> bytes:
        await asyncio.sleep(0.001)
        if self.is_unavailable:
            raise TemporarilyUnavailable("The key management service does not answer.")
        return await self._held.sign(signing_input)


async def test_a_key_outside_the_process_can_sign(service: Service) -> None:
    held = RemoteSigner()
    ring = RotatingKeyRing(service.clock)
    with pytest.raises(TemporarilyUnavailable):
        _ = ring.signer
    ring.replace([StoredKey(held.kid, held.algorithm, Schedule(published_at=0, active_from=0), 1, signer=held)])
    token = await ring.signer.sign({"iss": ISSUER})
    key = ring.find(held.kid)
    assert isinstance(key, VerifyingKey)
    assert {"iss": ISSUER} == read_payload(key.verify(Parser().parse(token)))
    assert held.kid in ring.jwks.content.decode()
    held.is_unavailable = True
    with pytest.raises(TemporarilyUnavailable):
        await ring.signer.sign({"iss": ISSUER})


async def test_two_processes_follow_each_other_and_print_how_soon(
    server_dsn: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 3.0)
    async with empty_store(server_dsn) as (dsn, _, store):
        one, other = await start_service(at=dsn), await start_service(at=dsn)
        assert await kids_of(one) == await kids_of(other)
        announced, _ = await store.announce_new(policy(), NOW, actor=OPERATOR)
        started = asyncio.get_running_loop().time()
        expected = await kids_of(one) | {announced}
        await asyncio.gather(seen(one, expected), seen(other, expected))
        took = asyncio.get_running_loop().time() - started
    sys.stdout.write(json.dumps({"followed_after_seconds": round(took, 1)}) + "\n")
