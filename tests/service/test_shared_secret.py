"""HS256: services that have the shared secret verify tokens, and can make none that the token service itself takes."""

import base64
import secrets
from typing import Any

import pytest

from authmint import InvalidToken, ResourceServer
from authmint.jose import JWTSigner, Parser, SharedSecretKey, read_payload
from tests.service.conftest import ISSUER, Service, StartService
from tests.service.signing import empty_store, kid_of

pytestmark = pytest.mark.anyio


def new_key(number: int) -> str:
    return f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


async def status_of_account(service: Service, token: str) -> int:
    answer = await service.http.get("/account/v1", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


async def is_active(service: Service, token: str, secret: str) -> bool:
    client = await service.add_client(secret)
    form = {"token": token, "client_id": client.client_id, "client_secret": secret}
    answer = await service.http.post("/introspect", data=form)
    assert 200 == answer.status_code, answer.text
    return bool(answer.json()["active"])


async def test_hs256_signs_with_the_shared_secret_and_publishes_no_key(server_dsn: str, start_service: StartService) -> None:
    shared = secrets.token_urlsafe(32)
    async with empty_store(server_dsn) as (dsn, database, _):
        service = await start_service(at=dsn, signing_algorithm="HS256", shared_secret=shared)
        user, client = await service.add_account(), await service.add_client()
        token = (await service.sign_in(client, user, resource="orders")).json()["access_token"]
        orders = ResourceServer(issuer=ISSUER, audience="orders", shared_secret=shared, clock=service.clock)
        assert user.id == (await orders.verify(token)).sub
        assert 200 == (await service.http.get("/readyz")).status_code
        assert 404 == (await service.http.get("/.well-known/jwks.json")).status_code
        metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
        assert not {"jwks_uri", "key_history_uri"} & metadata.keys()
        assert 0 == await database.fetch_value("SELECT count(*) FROM authmint.signing_keys")
        # Never beside an asymmetric key: a service that has one accepts no HS256 token, and this one accepts no other.
        other = await start_service(at=dsn)
        own = (await service.sign_in(client, user, resource=ISSUER)).json()["access_token"]
        assert (200, 401) == (await status_of_account(service, own), await status_of_account(other, own))
        theirs = (await other.sign_in(client, user, resource=ISSUER)).json()["access_token"]
        assert (401, 200) == (await status_of_account(service, theirs), await status_of_account(other, theirs))


async def test_a_token_for_the_issuer_is_signed_with_a_key_that_no_service_has(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    shared = secrets.token_urlsafe(32)
    async with empty_store(server_dsn) as (dsn, _, _):
        service = await start_service(at=dsn, signing_algorithm="HS256", shared_secret=shared)
        user, client = await service.add_account(), await service.add_client()
        own = (await service.sign_in(client, user, resource=ISSUER)).json()["access_token"]
        assert "issuer-1" == kid_of(own)
        assert 200 == await status_of_account(service, own)
        assert await is_active(service, own, secret)
        with pytest.raises(InvalidToken):
            await ResourceServer(issuer=ISSUER, audience=ISSUER, shared_secret=shared, clock=service.clock).verify(own)
        claims: dict[str, Any] = read_payload(Parser().parse(own).payload)
        for kid in ("shared-secret", "issuer-1", "issuer-2", None):
            forged = JWTSigner(SharedSecretKey(shared.encode(), kid=kid)).sign(claims)
            assert 401 == await status_of_account(service, forged), kid
            assert not await is_active(service, forged, secret), kid
        # The same forgery for another audience is what the holder of the secret can do.
        forged = JWTSigner(SharedSecretKey(shared.encode(), kid="shared-secret")).sign(claims | {"aud": "orders"})
        assert 401 == await status_of_account(service, forged)


async def test_the_own_key_rotates_with_the_keys_of_refresh_tokens(server_dsn: str, start_service: StartService) -> None:
    shared, first, second = secrets.token_urlsafe(32), new_key(1), new_key(2)
    async with empty_store(server_dsn) as (dsn, _, _):

        async def begin(keys: str) -> Service:
            return await start_service(at=dsn, signing_algorithm="HS256", shared_secret=shared, refresh_token_keys=keys)

        before = await begin(first)
        user, client = await before.add_account(), await before.add_client()
        old = (await before.sign_in(client, user, resource=ISSUER)).json()["access_token"]
        both = await begin(f"{second},{first}")
        # The new key is used once all processes have it.
        assert "issuer-1" == kid_of((await both.sign_in(client, user, resource=ISSUER)).json()["access_token"])
        await before.stop()
        await both.app.state.processes.beat()
        new = (await both.sign_in(client, user, resource=ISSUER)).json()["access_token"]
        assert ["issuer-1", "issuer-2"] == [kid_of(old), kid_of(new)]
        assert [200, 200] == [await status_of_account(both, token) for token in (old, new)]
        after = await begin(second)
        assert [503, 200] == [await status_of_account(after, token) for token in (old, new)]
        await both.stop()
        await after.app.state.processes.beat()
        assert [401, 200] == [await status_of_account(after, token) for token in (old, new)]
