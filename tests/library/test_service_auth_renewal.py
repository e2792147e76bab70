"""`ServiceAuth` in clients of httpx2 and httpx, sync and async: a token that is still good never waits for a new one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest

from authmint import ServiceAuth, ServiceAuthError
from tests.library.web import Clock, Web, web

pytestmark = pytest.mark.anyio

Get = Callable[[str], Awaitable[Any]]


def getter(kind: str, auth: ServiceAuth) -> Get:
    """Sends one GET through a client of this kind."""
    library: Any = httpx if kind.startswith("httpx ") else httpx2

    async def get(url: str) -> Any:
        if kind.endswith("async"):
            async with library.AsyncClient(auth=auth) as client:
                return await client.get(url)

        def synchronously() -> Any:
            with library.Client(auth=auth) as client:
                return client.get(url)

        return await asyncio.to_thread(synchronously)

    return get


def offer(site: Web, token: str, **more: Any) -> None:
    site.json("/token", {"access_token": token, "token_type": "Bearer", "expires_in": 100} | more)


def make(site: Web, kind: str) -> tuple[Clock, Get]:
    site.json("/who", {})
    offer(site, "one")
    clock = Clock()
    auth = ServiceAuth(issuer=site.url, token_url=f"{site.url}/token", client_id="c", client_secret="s" * 32, clock=clock)
    return clock, getter(kind, auth)


def bearers(site: Web) -> list[str]:
    lines = [line for head, path in zip(site.heads, site.hits, strict=True) if path == "/who" for line in head.split("\r\n")]
    return [line.removeprefix("authorization: bearer ") for line in lines if line.startswith("authorization")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


KINDS = pytest.mark.parametrize("kind", ["httpx2 async", "httpx2 sync", "httpx async", "httpx sync"])


@KINDS
async def test_a_token_is_renewed_in_the_background_in_the_last_fifth_of_its_life(kind: str) -> None:
    async with web() as site:
        clock, get = make(site, kind)
        await get(f"{site.url}/who")
        clock.now += 79
        await get(f"{site.url}/who")
        assert ["/token", "/who", "/who"] == site.hits
        offer(site, "two")
        clock.now += 10
        assert 200 == (await get(f"{site.url}/who")).status_code
        await until(lambda: site.hits.count("/token") == 2)
        await asyncio.sleep(0.2)
        await get(f"{site.url}/who")
        assert ["one", "one", "one", "two"] == bearers(site)
        assert 2 == site.hits.count("/token")


@KINDS
async def test_a_request_does_not_wait_for_a_token_service_that_hangs_while_its_token_is_good(kind: str) -> None:
    async with web() as site:
        clock, get = make(site, kind)
        await get(f"{site.url}/who")
        site.answers["/token"] = None
        clock.now += 90
        started = time.monotonic()
        for _ in range(5):
            assert 200 == (await get(f"{site.url}/who")).status_code
        assert time.monotonic() - started < 3
        await until(lambda: site.hits.count("/token") == 2)
        assert ["one"] * 6 == bearers(site)


@KINDS
@pytest.mark.parametrize("trouble", ["refuses", "disconnects"])
async def test_a_renewal_that_fails_costs_no_request_until_the_token_has_expired(kind: str, trouble: str) -> None:
    async with web() as site:
        clock, get = make(site, kind)
        await get(f"{site.url}/who")
        if trouble == "refuses":
            site.json("/token", {"error": "invalid_client"}, status=401)
        else:
            site.answers["/token"] = b""
        clock.now += 86
        for _ in range(3):
            assert 200 == (await get(f"{site.url}/who")).status_code
            await until(lambda: site.hits.count("/token") >= 2)
        assert 2 == site.hits.count("/token")
        clock.now += 6
        assert 200 == (await get(f"{site.url}/who")).status_code
        await until(lambda: site.hits.count("/token") == 3)
        clock.now += 30
        with pytest.raises(ServiceAuthError if trouble == "refuses" else (httpx.HTTPError, httpx2.HTTPError)):
            await get(f"{site.url}/who")
        assert "" not in bearers(site)


async def test_a_renewal_does_not_follow_a_redirect() -> None:
    async with web() as site:
        clock, get = make(site, "httpx2 async")
        await get(f"{site.url}/who")
        site.json("/token", {}, status=307, headers=f"location: {site.url}/elsewhere\r\n")
        clock.now += 90
        assert 200 == (await get(f"{site.url}/who")).status_code
        await until(lambda: site.hits.count("/token") == 2)
        await asyncio.sleep(0.1)
        assert "/elsewhere" not in site.hits
