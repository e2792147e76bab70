"""Follow an issuer's revocation list over real HTTP: which tokens are refused, which lists are not trusted, and outages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from authmint import InvalidToken, IssuerUnavailable, Principal, ResourceServer
from authmint.challenge import to_http_error
from authmint.revocation_list import MAX_BYTES
from authmint.revocation_list_follower import RevocationListFollower
from authmint.revoked_entries import RevokedEntries, entry_of
from tests.library.conftest import AUDIENCE, NOW, Issuer
from tests.library.web import MINUTE, Clock, Web, publish, sign_list, web

pytestmark = pytest.mark.anyio

PATH = "/revocation-list"


@pytest.fixture(autouse=True)
def polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_SECONDS", "MIN_RETRY_SECONDS"):
        monkeypatch.setattr(f"authmint.revocation_list_follower.{name}", 0.05)
    monkeypatch.setattr("authmint.revocation_list_follower.MAX_RETRY_SECONDS", 0.1)


def offer(site: Web, issuer: Issuer, *sids: str, headers: str = "", **changes: Any) -> None:
    site.json(PATH, sign_list(site, issuer, *sids, **changes), headers=headers)


@asynccontextmanager
async def following(
    site: Web, issuer: Issuer, **settings: Any
) -> AsyncIterator[tuple[ResourceServer, Clock, RevocationListFollower]]:
    publish(site, issuer)
    members = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "revocation_list_uri": f"{site.url}{PATH}"}
    site.json("/.well-known/oauth-authorization-server", members)
    clock = Clock()
    server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, revocation_list=True, **settings)
    follower = server._state.verifier.issuers[site.url].revocation_list
    assert isinstance(follower, RevocationListFollower)
    async with server.lifespan():
        yield server, clock, follower


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def polled(site: Web, times: int = 2) -> None:
    """Wait for this many more polls: all but the last were answered."""
    seen = len(polls(site))
    await until(lambda: len(polls(site)) >= seen + times)


def polls(site: Web) -> list[str]:
    return [hit for hit in site.hits if hit.startswith(PATH)]


def lists(follower: RevocationListFollower, sid: str) -> bool:
    return follower._list is not None and entry_of(sid) in follower._list.entries.sessions


def has_serial(follower: RevocationListFollower, serial: int) -> bool:
    return follower._list is not None and follower._list.serial == serial


async def refusal(server: ResourceServer, token: str) -> str | None:
    try:
        await server.verify(token)
    except InvalidToken as refused:
        return refused.reason
    return None


async def test_a_token_of_a_revoked_session_is_refused_also_when_it_is_cached(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, _, follower):
            token, other = issuer.token(iss=site.url, sid="one"), issuer.token(iss=site.url, sid="two")
            service = issuer.token(iss=site.url, sid=..., sub_profile="service")
            for one in (token, other, service):
                await server.verify(one)
            offer(site, issuer, "one", at=NOW + 1, since=NOW * 1000)
            await until(lambda: lists(follower, "one"))
            assert "revoked" == await refusal(server, token)
            assert ["6f1c", "6f1c"] == [(await server.verify(one)).sub for one in (other, service)]
            offer(site, issuer, at=NOW + 2)
            await until(lambda: not lists(follower, "one"))
            assert await refusal(server, token) is None


async def test_a_cached_token_is_refused_that_was_made_before_something_was_taken(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, _, follower):
            old, new, none = (
                issuer.token(iss=site.url, jti=str(epoch), epoch=epoch) for epoch in (NOW * 1000, NOW * 1000 + 1, ...)
            )
            for one in (old, new, none):
                await server.verify(one)
            offer(site, issuer, at=NOW + 1, below={"clients": {"spa": NOW * 1000 + 1}})
            await until(lambda: follower._list is not None and len(follower._list.entries.below) > 0)
            assert ["epoch_revoked", None, "epoch_revoked"] == [await refusal(server, one) for one in (old, new, none)]
            with pytest.raises(InvalidToken, match="Request a new one") as refused:
                await server.verify(old)
            challenge = to_http_error(refused.value).headers
            assert challenge is not None
            assert 'error="invalid_token"' in challenge["WWW-Authenticate"]


async def test_a_follower_asks_for_what_is_newer_and_waits_for_it(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer):
            await polled(site)
            assert [PATH, f"{PATH}?since={NOW * 1000}&wait=5"] == polls(site)[:2]
            offer(site, issuer, at=NOW + 1.5, since=NOW * 1000 - 60_000)
            await until(lambda: polls(site)[-1] == f"{PATH}?since={NOW * 1000 + 1500}&wait=5")


async def test_the_age_of_a_list_is_what_it_says_itself(issuer: Issuer) -> None:
    """Whatever a copy of it is served, as often as it may be."""
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, clock, _):
            await until(lambda: server.revocation_list_age is not None)
            clock.now += 7
            await polled(site)
            assert 7 == server.revocation_list_age
            offer(site, issuer, at=NOW + 5)
            await until(lambda: server.revocation_list_age == 2)
    assert ResourceServer(issuer=site.url, audience=AUDIENCE).revocation_list_age is None


BAD_LISTS: dict[str, Callable[[Web, Issuer], None]] = {
    "another key": lambda site, issuer: offer(site, Issuer()),
    "another key with its name": lambda site, issuer: site.json(PATH, sign_list(site, issuer, at=NOW + 1)[:-8] + b"AAAAAAAA"),
    "another type": lambda site, issuer: offer(site, issuer, typ="at+jwt", at=NOW + 1),
    "another issuer": lambda site, issuer: offer(site, issuer, iss="https://other.example", at=NOW + 1),
    "no algorithm": lambda site, issuer: site.json(PATH, b"eyJhbGciOiJub25lIiwidHlwIjoicmV2b2NhdGlvbi1saXN0K2p3dCJ9.e30.e30"),
    "an older list": lambda site, issuer: offer(site, issuer, at=NOW - 1),
    "a list from the future": lambda site, issuer: offer(site, issuer, at=NOW + 301),
    "a delta that does not fit": lambda site, issuer: offer(site, issuer, at=NOW + 2, since=(NOW + 1) * 1000),
    "a truncated pack": lambda site, issuer: offer(site, issuer, at=NOW + 1, sessions={str(MINUTE): "AAAA"}),
    "a negative epoch": lambda site, issuer: offer(site, issuer, at=NOW + 1, below={"all": -1}),
    "17 MB": lambda site, issuer: offer(site, issuer, at=NOW + 1, padding="A" * (MAX_BYTES * 3 // 4)),
    "no JWS": lambda site, issuer: site.json(PATH, b"<html>"),
    "nothing": lambda site, issuer: site.json(PATH, b""),
    "304": lambda site, issuer: site.json(PATH, b"", status=304),
    "500": lambda site, issuer: site.json(PATH, {}, status=500),
    "a redirect": lambda site, issuer: site.json(PATH, {}, status=302, headers=f"location: {site.url}/elsewhere\r\n"),
}


@pytest.mark.parametrize("what", BAD_LISTS)
async def test_a_list_that_is_not_to_be_trusted_changes_nothing_and_a_good_one_is_accepted_again(
    issuer: Issuer, what: str
) -> None:
    async with web() as site:
        offer(site, issuer, "one")
        async with following(site, issuer) as (server, _, follower):
            await until(lambda: lists(follower, "one"))
            known = follower._list
            BAD_LISTS[what](site, issuer)
            await polled(site)
            assert known is follower._list
            assert "revoked" == await refusal(server, issuer.token(iss=site.url, sid="one"))
            assert "/elsewhere" not in site.hits
            offer(site, issuer, "two", at=NOW + 3)
            await until(lambda: lists(follower, "two"))


@pytest.mark.parametrize("fails", ["open", "closed"])
@pytest.mark.parametrize("outage", ["500", "the same list again and again", "an older one"])
async def test_a_list_that_is_a_minute_old_fails_open_or_closed_as_configured(issuer: Issuer, fails: str, outage: str) -> None:
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer, revocation_list_fail=fails) as (server, clock, follower):
            await until(lambda: follower.age is not None)
            if outage == "500":
                site.json(PATH, {}, status=500)
            elif outage == "an older one":
                offer(site, issuer, at=NOW - 10)
            token, service = issuer.token(iss=site.url), issuer.token(iss=site.url, sid=..., sub_profile="service")
            clock.now += 60
            await polled(site)
            await server.verify(token)
            clock.now += 1
            await polled(site)
            for one in (token, service):
                if fails == "open":
                    await server.verify(one)
                else:
                    with pytest.raises(IssuerUnavailable):
                        await server.verify(one)
            offer(site, issuer, at=clock.now)
            await until(lambda: follower.age == 0)
            await server.verify(token)


@pytest.mark.parametrize("fails", ["open", "closed"])
async def test_no_list_yet_is_not_an_empty_list(issuer: Issuer, fails: str) -> None:
    async with web() as site, following(site, issuer, revocation_list_fail=fails) as (server, _, _):
        token = issuer.token(iss=site.url)
        if fails == "open":
            await server.verify(token)
        else:
            with pytest.raises(IssuerUnavailable):
                await server.verify(token)
        offer(site, issuer)
        await until(lambda: server.revocation_list_age is not None)
        await server.verify(token)


async def test_a_poll_without_a_response_is_sent_again_on_a_new_connection(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint.revocation_list_follower.WAIT_SECONDS", 0)
    monkeypatch.setattr("authmint.revocation_list_follower.GIVE_UP_SECONDS", 0.2)
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (_, _, follower):
            await until(lambda: follower.age is not None)
            site.answers[PATH] = None
            await polled(site, 1)
            seen = len(polls(site))
            offer(site, issuer, "one", at=NOW + 1)
            await until(lambda: lists(follower, "one"))
            assert len(polls(site)) > seen


async def test_a_follower_pauses_for_as_long_as_it_is_asked_to(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authmint.revocation_list_follower.MAX_RETRY_SECONDS", 15.0)
    async with web() as site:
        offer(site, issuer, headers="retry-after: 60\r\n")
        async with following(site, issuer) as (_, _, follower):
            await until(lambda: follower.age is not None)
            await polled(site, 1)
            seen = len(polls(site))
            await asyncio.sleep(0.5)
            assert seen == len(polls(site))


async def test_entries_leave_the_memory_of_a_follower_by_their_own_minute(issuer: Issuer) -> None:
    async with web() as site:
        offer(site, issuer, "one")
        async with following(site, issuer) as (_, clock, follower):
            await until(lambda: lists(follower, "one"))
            site.json(PATH, {}, status=500)
            clock.now = MINUTE * 60
            await polled(site)
            assert not lists(follower, "one")


async def test_a_key_on_the_list_verifies_nothing_from_then_on(issuer: Issuer) -> None:
    new = Issuer()
    async with web() as site:
        offer(site, issuer)
        async with following(site, issuer) as (server, _, follower):
            publish_both = [issuer, new]
            site.json("/jwks", {"keys": [one.key.public_jwk() for one in publish_both]})
            token = issuer.token(iss=site.url)
            await server.verify(token)
            # Signed with a key that the follower does not know: reason enough to fetch the keys.
            offer(site, new, at=NOW + 1, keys=[issuer.key.kid])
            await until(lambda: follower._list is not None and bool(follower._list.entries.keys))
            assert "revoked_key" == await refusal(server, token)
            assert await refusal(server, new.token(iss=site.url)) is None
            # Who has the old key takes it back with no list of it.
            offer(site, issuer, at=NOW + 2)
            await polled(site)
            assert "revoked_key" == await refusal(server, token)
            offer(site, new, "one", at=NOW + 3, keys=[issuer.key.kid])
            await until(lambda: lists(follower, "one"))


async def test_an_issuer_without_a_list_is_trusted_when_it_fails_open(issuer: Issuer) -> None:
    async with web() as site:
        publish(site, issuer)
        server = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=Clock(), revocation_list=True)
        async with server.lifespan():
            assert "6f1c" == (await server.verify(issuer.token(iss=site.url))).sub


async def test_a_cached_token_is_looked_up_once_in_each_list(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    reason = RevokedEntries.reason

    def count(self: RevokedEntries, token: Principal) -> Any:
        looked_up.append(token.sub)
        return reason(self, token)

    monkeypatch.setattr(RevokedEntries, "reason", count)
    async with web() as site:
        offer(site, issuer, "one")
        async with following(site, issuer) as (server, _, follower):
            await until(lambda: lists(follower, "one"))
            token = issuer.token(iss=site.url, sid="two")
            for at in (1, 2, 3):
                for _ in range(10):
                    await server.verify(token)
                # Signed again, and then with something new.
                offer(site, issuer, *(["one"] if at == 1 else ["one", "three"]), at=NOW + at, since=NOW * 1000)
                await until(partial(has_serial, follower, (NOW + at) * 1000))
    # When it was verified, when it was found in the cache, and then by the second list.
    assert 3 == len(looked_up)


async def test_a_resource_server_can_ask_an_object_which_tokens_were_revoked(issuer: Issuer) -> None:
    class Check:
        is_overdue = False

        async def catch_up(self) -> None:
            """Do nothing."""

        def check(self, token: object, checked_by: object = None) -> object:
            raise InvalidToken("revoked")

    server = ResourceServer(
        issuer="https://a.example", audience=AUDIENCE, jwks=issuer.jwks, revocation_list=Check(), clock=Clock()
    )
    assert "revoked" == await refusal(server, issuer.token(iss="https://a.example"))
    assert server.revocation_list_age is None
