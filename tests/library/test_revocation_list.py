"""Follow an issuer's revocation list over real HTTP: which tokens are refused, which lists are not trusted, and outages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from authmint import InvalidToken, IssuerUnavailable, ResourceServer
from authmint.revocation_list import RevocationListFollower
from tests.library.conftest import AUDIENCE, NOW, Issuer
from tests.library.web import Clock, Web, publish, web

pytestmark = pytest.mark.anyio

WAITING = "/revocation-list?wait=5"


def offer(site: Web, issuer: Issuer, tag: str = '"1"', typ: str = "revocation-list+jwt", **changes: Any) -> None:
    members = {"iss": site.url, "iat": NOW, "sids": {}} | changes
    text = issuer.signer.sign(members, typ=typ).encode()
    for wait in (0, 5):
        site.json(f"/revocation-list?wait={wait}", text, headers=f"etag: {tag}\r\n")


@asynccontextmanager
async def following(
    site: Web, issuer: Issuer, **settings: Any
) -> AsyncIterator[tuple[ResourceServer, Clock, RevocationListFollower]]:
    publish(site, issuer)
    members = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "revocation_list_uri": f"{site.url}/revocation-list"}
    site.json("/.well-known/oauth-authorization-server", members)
    clock = Clock()
    server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, revocation_list=True, **settings)
    follower = server._state.verifier.issuers[site.url].revocation_list
    assert follower is not None
    async with server.lifespan():
        yield server, clock, follower


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_token_of_a_revoked_session_is_refused_also_when_it_is_cached(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, _, follower):
            token, other = issuer.token(iss=site.url, sid="one"), issuer.token(iss=site.url, sid="two")
            service = issuer.token(iss=site.url, sid=..., sub_profile="service")
            for one in (token, other, service):
                await server.verify(one)
            offer(site, issuer, tag='"2"', sids={"one": NOW + 600})
            await until(lambda: "one" in follower._list.sids)
            with pytest.raises(InvalidToken) as refused:
                await server.verify(token)
            assert "revoked" == refused.value.reason
            assert ["6f1c", "6f1c"] == [(await server.verify(one)).sub for one in (other, service)]
            offer(site, issuer, tag='"3"')
            await until(lambda: not follower._list.sids)
            assert "6f1c" == (await server.verify(token)).sub


@pytest.mark.parametrize("whose", ["users", "clients", "everyone"])
async def test_tokens_issued_up_to_a_time_are_refused_of_a_user_of_a_client_or_of_all(issuer: Issuer, whose: str) -> None:
    """Whole seconds: a token of the very second of the revocation may be from before it."""
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, _, follower):
            old, same, new = (issuer.token(iss=site.url, iat=NOW + past, jti=str(past)) for past in (-60, -10, -9))
            service = issuer.token(iss=site.url, iat=NOW - 60, sid=..., sub="m", client_id="m", sub_profile="service")
            for one in (old, same, new, service):
                await server.verify(one)
            whom: dict[str, Any] = {"users": {"6f1c": NOW - 10}, "clients": {"spa": NOW - 10}, "everyone": NOW - 10}
            offer(site, issuer, tag='"2"', **{whose: whom[whose]})
            await until(lambda: follower._tag == '"2"')
            for one in (old, same, service) if whose == "everyone" else (old, same):
                with pytest.raises(InvalidToken):
                    await server.verify(one)
            for one in (new,) if whose == "everyone" else (new, service):
                await server.verify(one)


async def test_a_server_returns_the_age_of_its_revocation_list(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, clock, _):
            await until(lambda: server.revocation_list_age is not None)
            site.json(WAITING, {}, status=500)
            seen = site.hits.count(WAITING)
            await until(lambda: site.hits.count(WAITING) > seen + 1)
            clock.now += 7
            assert 7 == server.revocation_list_age
    assert ResourceServer(issuer=site.url, audience=AUDIENCE).revocation_list_age is None


async def test_a_list_that_has_not_changed_is_not_sent_again(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer, sids={"one": NOW + 600})
        async with following(site, issuer) as (_, _, follower):
            await until(lambda: follower.age is not None)
            site.answers[WAITING] = b"HTTP/1.1 304 X\r\nconnection: close\r\n\r\n"
            seen = len(site.hits)
            await until(lambda: site.hits[seen:].count(WAITING) >= 2)
            assert 'if-none-match: "1"' in site.heads[-1]
            assert {"one": NOW + 600} == follower._list.sids


@pytest.mark.parametrize(
    "how",
    [
        "another key",
        "another type",
        "another issuer",
        "old",
        "no sids",
        "sids of another form",
        "users of another form",
        "a fraction for everyone",
        "no JWS",
        "500",
        "a redirect",
    ],
)  # fmt: skip
async def test_a_list_that_is_not_the_issuers_own_is_not_trusted_and_the_old_one_stays(issuer: Issuer, how: str) -> None:
    async with web() as site:
        offer(site, issuer, sids={"one": NOW + 600})
        async with following(site, issuer) as (server, _, follower):
            await until(lambda: follower.age is not None)
            bad: dict[str, Callable[[], object]] = {
                "another key": lambda: offer(site, Issuer()),
                "another type": lambda: offer(site, issuer, typ="at+jwt"),
                "another issuer": lambda: offer(site, issuer, iss="https://other.example"),
                "old": lambda: offer(site, issuer, iat=NOW - 301),
                "no sids": lambda: offer(site, issuer, sids=None),
                "sids of another form": lambda: offer(site, issuer, sids={"one": "soon"}),
                "users of another form": lambda: offer(site, issuer, users=[1]),
                "a fraction for everyone": lambda: offer(site, issuer, everyone=1.5),
                "no JWS": lambda: site.json(WAITING, b"<html>"),
                "500": lambda: site.json(WAITING, {}, status=500),
                "a redirect": lambda: site.json(WAITING, {}, status=302, headers=f"location: {site.url}/elsewhere\r\n"),
            }
            bad[how]()
            seen = site.hits.count(WAITING)
            await until(lambda: site.hits.count(WAITING) > seen)
            await asyncio.sleep(0.1)
            assert {"one": NOW + 600} == follower._list.sids
            with pytest.raises(InvalidToken):
                await server.verify(issuer.token(iss=site.url, sid="one"))
            assert "/elsewhere" not in site.hits


@pytest.mark.parametrize("fails", ["open", "closed"])
async def test_a_list_that_cannot_be_fetched_for_a_minute_fails_open_or_closed_as_configured(
    issuer: Issuer, fails: str
) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer, revocation_list_fail=fails) as (server, clock, follower):
            await until(lambda: follower.age is not None)
            for path in (WAITING, "/revocation-list?wait=0"):
                site.json(path, {}, status=500)
            seen = site.hits.count(WAITING)
            await until(lambda: site.hits.count(WAITING) > seen + 1)
            token, service = issuer.token(iss=site.url), issuer.token(iss=site.url, sid=..., sub_profile="service")
            clock.now += 59
            await server.verify(token)
            clock.now += 2
            assert 61 == follower.age
            for one in (token, service):
                if fails == "open":
                    await server.verify(one)
                else:
                    with pytest.raises(IssuerUnavailable):
                        await server.verify(one)


async def test_an_issuer_without_a_list_is_trusted_when_it_fails_open(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock(), revocation_list=True)
        async with server.lifespan():
            assert "6f1c" == (await server.verify(issuer.token(iss=site.url))).sub
