"""The revocation list, and how fast it reaches a resource service that verifies tokens locally."""

import asyncio
import json
import sys
import time
from typing import Any

import pytest
from fastapi import FastAPI

from authmint import ResourceServer
from authmint.errors import InvalidToken
from authmint.jose import Parser, VerifyingKey, read_payload
from authmint_service.accounts import AccountStore
from authmint_service.clients import ClientStore
from authmint_service.revocations import RevocationStore
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Service, StartService, migrated_database
from tests.service.devices import sign_in
from tests.service.signing import empty_store
from tests.service.test_outages import black_hole
from tests.service.test_resource_services import ask, at_one_address, orders_example
from tests.service.test_session_revocation import introspect

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]


async def members_of_the_list(service: Service) -> dict[str, Any]:
    """Return the members of the list, with its signature verified."""
    await asyncio.sleep(0.5)
    answer = await service.http.get("/revocation-list")
    assert (200, "application/revocation-list+jwt") == (answer.status_code, answer.headers["content-type"])
    jws = Parser(types=("revocation-list+jwt",), max_length=1_000_000).parse(answer.text)
    keys = [VerifyingKey.from_jwk(jwk) for jwk in (await service.http.get("/.well-known/jwks.json")).json()["keys"]]
    (key,) = (key for key in keys if key.kid == jws.header.key_id)
    members = read_payload(key.verify(jws))
    assert ISSUER == members["iss"]
    return members


async def listed(service: Service) -> dict[str, int]:
    """Return the sessions in the list."""
    sids: dict[str, int] = (await members_of_the_list(service))["sids"]
    return sids


def session_of(access: str) -> str:
    return str(read_payload(Parser().parse(access).payload)["sid"])


async def test_a_revoked_session_is_listed_until_its_last_access_token_has_expired(service: Service) -> None:
    one, other = await sign_in(service), await sign_in(service)
    assert not {session_of(one.access), session_of(other.access)} & set(await listed(service))
    await one.ask("DELETE", "/account/v1/sessions/current")
    sids = await listed(service)
    assert session_of(one.access) in sids
    assert session_of(other.access) not in sids
    # Five minutes of life, and the 300 seconds of leeway that a resource server may give at most.
    assert int(service.clock()) + 600 == sids[session_of(one.access)]
    service.clock.now += 599
    assert session_of(one.access) in await listed(service)
    service.clock.now += 2
    assert session_of(one.access) not in await listed(service)


async def test_a_list_that_is_known_is_304_at_once_or_after_the_wait(service: Service) -> None:
    answer = await service.http.get("/revocation-list")
    known = {"If-None-Match": answer.headers["etag"]}
    assert "public, max-age=1" == answer.headers["cache-control"]
    assert 304 == (await service.http.get("/revocation-list", headers=known)).status_code
    one = await sign_in(service)
    waiting = asyncio.create_task(service.http.get("/revocation-list?wait=8", headers=known))
    await asyncio.sleep(0.1)
    await one.ask("DELETE", "/account/v1/sessions/current")
    answer = await waiting
    assert (200, True) == (answer.status_code, answer.headers["etag"] != known["If-None-Match"])
    for wait in ("-1", "11", "x"):
        assert 422 == (await service.http.get(f"/revocation-list?wait={wait}")).status_code


async def test_without_a_database_the_list_is_503(start_service: StartService) -> None:
    service = await start_service(at="postgresql://nobody@127.0.0.1:1/none")
    answer = await service.http.get("/revocation-list")
    assert (503, True) == (answer.status_code, "retry-after" in answer.headers)


async def test_many_requests_while_the_database_hangs_wait_for_it_once(start_service: StartService) -> None:
    async with black_hole() as port:
        service = await start_service(at=f"postgresql://nobody@127.0.0.1:{port}/none")
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(service.http.get("/revocation-list") for _ in range(30)))
    assert {503} == {answer.status_code for answer in answers}


async def test_accounts_clients_and_everyone_are_listed_with_the_time_up_to_which_their_tokens_are_revoked(
    start_service: StartService, server_dsn: str
) -> None:
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn)
        one, other = await sign_in(service), await sign_in(service)
        assert {"iss", "iat", "sids"} == set(await members_of_the_list(service))
        now = int(service.clock())
        await AccountStore(service.database).disable(one.user.id, service.clock(), actor=OPERATOR)
        assert await ClientStore(service.database).disable(other.client.client_id, service.clock(), actor=OPERATOR)
        await RevocationStore(service.database).raise_global_epoch(service.clock(), actor=OPERATOR)
        members = await members_of_the_list(service)
        assert ({one.user.id: now}, {other.client.client_id: now}, now) == (
            members["users"], members["clients"], members["everyone"],
        )  # fmt: skip
        assert {session_of(one.access), session_of(other.access)} == set(members["sids"])
        service.clock.now += 601
        assert {"sids": {}} == {name: value for name, value in (await members_of_the_list(service)).items() if name[0] != "i"}


async def test_a_client_that_was_disabled_has_no_live_token_of_any_kind(service: Service, secret: str) -> None:
    client = await service.add_client(secret, grants=frozenset({"password", "refresh_token", "client_credentials"}))
    asks = await service.add_client(secret)
    form = {"client_id": client.client_id, "client_secret": secret}
    service_token = (await service.token(grant_type="client_credentials", **form)).json()["access_token"]
    user = await service.add_account()
    person = (await service.sign_in(client, user, client_secret=secret)).json()
    tokens = (service_token, person["access_token"])
    assert [True, True] == [(await introspect(service, asks, secret, token))["active"] for token in tokens]
    store = ClientStore(service.database)
    assert await store.disable(client.client_id, service.clock(), actor=OPERATOR)
    # Enabled again at once: tokens issued before stay revoked.
    assert await store.enable(client.client_id, service.clock(), actor=OPERATOR)
    await asyncio.sleep(0.5)
    assert [{"active": False}] * 2 == [await introspect(service, asks, secret, token) for token in tokens]
    service.clock.now += 1
    refused = await service.refresh(client, person["refresh_token"], client_secret=secret)
    assert (400, "invalid_grant") == (refused.status_code, refused.json()["error"])
    assert 200 == (await service.token(grant_type="client_credentials", **form)).status_code
    assert not await store.disable("nobody", service.clock(), actor=OPERATOR)


async def followed(orders: FastAPI, token: str, since: float) -> float:
    """Seconds until the orders example refuses a token."""
    async with asyncio.timeout(10):
        while 401 != await ask(orders, token):
            await asyncio.sleep(0.01)
    return time.monotonic() - since


# The test only bounds the time; it prints the value that docs/sessions.md shows.
async def test_a_revoked_session_is_soon_refused_by_every_following_service(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_one_address() as services:
        service = await start_service(issuer=services.url)
        services.current = service.app
        audiences = ("orders", services.url)
        client = await service.add_client(resources=audiences, default_resources=("orders",))
        orders = [orders_example(services.url, service.clock, monkeypatch) for _ in range(2)]
        seconds = []
        async with orders[0].router.lifespan_context(orders[0]), orders[1].router.lifespan_context(orders[1]):
            for how in ("logout", "disable") * 2:
                one = await sign_in(service, client=client)
                assert [200, 200] == [await ask(app, one.access) for app in orders]
                if how == "logout":
                    await one.sign_out()
                else:
                    await AccountStore(service.database).disable(one.user.id, service.clock(), actor=OPERATOR)
                revoked_at = time.monotonic()
                seconds += await asyncio.gather(*(followed(app, one.access, revoked_at) for app in orders))
    sys.stdout.write(json.dumps({"slowest_seconds": round(max(seconds), 2), "of": len(seconds)}) + "\n")


async def test_the_list_is_followed_with_a_shared_secret_as_well(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with at_one_address() as services, empty_store(server_dsn) as (dsn, _, _):
        service = await start_service(at=dsn, issuer=services.url, signing_algorithm="HS256", shared_secret=secret)
        services.current = service.app
        audiences = ("orders", services.url)
        one = await sign_in(service, client=await service.add_client(resources=audiences, default_resources=("orders",)))
        orders = ResourceServer(
            issuer=services.url, audience="orders", shared_secret=secret, revocation_list=True, clock=service.clock
        )
        async with orders.lifespan(), asyncio.timeout(15):
            assert one.user.id == (await orders.verify(one.access)).sub
            await one.sign_out()
            while await is_accepted(orders, one.access):
                await asyncio.sleep(0.05)


async def is_accepted(server: ResourceServer, token: str) -> bool:
    try:
        await server.verify(token)
    except InvalidToken as refused:
        return refused.reason != "revoked"
    return True
