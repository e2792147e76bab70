"""Nothing is off because a hook was not called: applications whose lifespan never runs follow the revocation list too."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from authmint import ConfigurationError, InvalidToken, Principal, ResourceServer
from authmint.jose import VerifyingKey
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer
from tests.library.web import LIST_PATH, Clock, Web, publish, publish_list, web_in_thread


@pytest.fixture
def site(issuer: Issuer) -> Iterator[Web]:
    with web_in_thread() as site:
        publish(site, issuer)
        publish_list(site, issuer)
        yield site


def make_server(site: Web, **settings: Any) -> tuple[ResourceServer, Clock]:
    clock = Clock()
    return ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, revocation_list=True, **settings), clock


def make_app(auth: ResourceServer, **settings: Any) -> FastAPI:
    app = FastAPI(**settings)

    @app.get("/")
    async def get_subject(caller: Annotated[Principal, auth.requires()]) -> str:
        return caller.sub

    return app


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


Send = Callable[[str], int]


def mounted(auth: ResourceServer) -> Send:
    """Starlette runs the lifespan of the outer application alone."""
    outer = FastAPI()
    outer.mount("/inner", make_app(auth, lifespan=lambda _: auth.lifespan()))
    client = TestClient(outer)
    client.__enter__()
    return lambda token: client.get("/inner/", headers={"Authorization": f"Bearer {token}"}).status_code


def a_client_without_with(auth: ResourceServer) -> Send:
    client = TestClient(make_app(auth, lifespan=lambda _: auth.lifespan()))
    return lambda token: client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code


def overwritten(auth: ResourceServer) -> Send:
    app = make_app(auth, lifespan=lambda _: auth.lifespan())
    app.router.lifespan_context = nothing
    client = TestClient(app)
    client.__enter__()
    return lambda token: client.get("/", headers={"Authorization": f"Bearer {token}"}).status_code


def a_loop_for_each_request(auth: ResourceServer) -> Send:
    """As adapters do that run an application in a function instance."""
    app = make_app(auth)

    async def send(token: str) -> int:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://orders.example") as client:
            return (await client.get("/", headers={"Authorization": f"Bearer {token}"})).status_code

    return lambda token: asyncio.run(send(token))


WAYS = pytest.mark.parametrize("serve", [mounted, a_client_without_with, overwritten, a_loop_for_each_request])


@WAYS
def test_a_revoked_token_is_refused_from_the_first_request_on(
    site: Web, issuer: Issuer, serve: Callable[[ResourceServer], Send]
) -> None:
    auth, _ = make_server(site)
    send = serve(auth)
    publish_list(site, issuer, "one")
    one, two = (issuer.token(iss=site.url, sid=sid) for sid in ("one", "two"))
    assert [401, 200] == [send(token) for token in (one, two)]
    publish_list(site, issuer, "one", "two")
    until(lambda: send(two) == 401)


def test_a_caller_without_an_event_loop_follows_the_list_too(site: Web, issuer: Issuer) -> None:
    auth, _ = make_server(site)
    publish_list(site, issuer, "one")
    with pytest.raises(InvalidToken) as refused:
        auth.verify_sync(issuer.token(iss=site.url, sid="one"))
    assert "revoked" == refused.value.reason
    assert "6f1c" == auth.verify_sync(issuer.token(iss=site.url, sid="two")).sub


def test_a_key_set_whose_keys_cannot_be_revoked_is_refused_beside_a_list() -> None:
    class OwnKeys:
        def find(self, _: str | None) -> VerifyingKey | None:
            return None

        async def fetch(self, _: str) -> VerifyingKey:
            raise InvalidToken("unknown_key")

    ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=OwnKeys())
    with pytest.raises(ConfigurationError, match="revoke"):
        ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=OwnKeys(), revocation_list=True)


@WAYS
def test_a_process_that_was_frozen_fetches_the_list_before_it_trusts_a_token(
    site: Web, issuer: Issuer, serve: Callable[[ResourceServer], Send]
) -> None:
    """The thread stands still with the process, so that the list is as old as the sleep was long."""
    auth, clock = make_server(site)
    send = serve(auth)
    token = issuer.token(iss=site.url, sid="one", exp=NOW + 7200)
    assert 200 == send(token)
    site.answers[LIST_PATH] = None
    # The request that was under way when the process was frozen never gets a response.
    seen = len(site.hits)
    until(lambda: len(site.hits) > seen)
    publish_list(site, issuer, "one", at=NOW + 3600)
    clock.now += 3600
    assert 401 == send(token)


@pytest.mark.parametrize(("fail", "status"), [("open", 200), ("closed", 503)])
def test_no_list_yet_is_not_an_empty_list(site: Web, issuer: Issuer, fail: str, status: int) -> None:
    auth, _ = make_server(site, revocation_list_fail=fail)
    site.json(LIST_PATH, {}, status=500)
    send = a_client_without_with(auth)
    assert status == send(issuer.token(iss=site.url))
    publish_list(site, issuer)
    until(lambda: send(issuer.token(iss=site.url)) == 200)


def test_an_emergency_rotation_reaches_a_follower_through_the_list_within_the_cooldown(site: Web, issuer: Issuer) -> None:
    """The keys were fetched a moment before, and a client has sent a token with an invented key."""
    auth, new = ResourceServer(issuer=site.url, audience=AUDIENCE, revocation_list=True), Issuer()
    send, now = a_client_without_with(auth), int(time.time())
    publish_list(site, issuer, at=now)
    old, good, invented = (one.token(iss=site.url, iat=now, exp=now + 300) for one in (issuer, new, Issuer()))
    assert [200, 503] == [send(old), send(invented)]
    site.json("/jwks", new.jwks)
    publish_list(site, new, at=now + 1, keys=[issuer.key.kid])
    statuses = set()

    def is_good() -> bool:
        statuses.add(send(good))
        return 200 in statuses

    until(is_good)
    assert 401 not in statuses
    assert 401 == send(old)
    assert site.hits.count("/jwks") <= 3


def test_following_goes_on_after_the_end_of_a_lifespan(site: Web, issuer: Issuer) -> None:
    """Two applications may share a resource server, and one of them ends first."""
    auth, _ = make_server(site)
    token = issuer.token(iss=site.url, sid="one")

    async def begin_and_end() -> None:
        async with auth.lifespan():
            await auth.verify(token)

    asyncio.run(begin_and_end())
    seen = len(site.hits)
    time.sleep(0.5)
    assert seen == len(site.hits)
    send = a_client_without_with(auth)
    assert 200 == send(token)
    publish_list(site, issuer, "one")
    until(lambda: send(token) == 401)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
