"""Tokens of keys that a key set does not have: new ones of an emergency rotation, removed, revoked and invented ones."""

import asyncio
import time
from collections.abc import Callable, Collection

import pytest

from authmint import InvalidToken, IssuerUnavailable, RemoteKeySet, ResourceServer, StaticKeySet
from authmint.fetching import FetchError, JSONDocument
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer
from tests.library.web import Clock

pytestmark = pytest.mark.anyio


class Published:
    """What an issuer publishes, how often it was fetched, and a resource server that fetches it."""

    def __init__(self, *issuers: Issuer, clock: Callable[[], float] = time.monotonic, cooldown: float = 30.0) -> None:
        self.issuers: Collection[Issuer] = issuers
        self.seconds = 0.0
        self.fetches = 0
        self.fails = False
        self.keys = RemoteKeySet(self._fetch, clock=clock, cooldown=cooldown)
        self.server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=self.keys, clock=lambda: NOW)

    async def _fetch(self) -> JSONDocument:
        self.fetches += 1
        document = JSONDocument({"keys": [issuer.key.public_jwk() for issuer in self.issuers]}, None)
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise FetchError("away")
        return document

    async def status(self, token: str) -> int:
        try:
            await self.server.verify(token)
        except InvalidToken:
            return 401
        except IssuerUnavailable as error:
            return 503 if 1 <= error.retry_after <= 30 else error.retry_after
        return 200


def invented() -> str:
    return Issuer().token()


async def test_a_token_with_an_unknown_key_before_an_emergency_rotation_costs_no_good_token_a_401(issuer: Issuer) -> None:
    clock, new = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 200 == await site.status(issuer.token())
    clock.now += 31
    assert 401 == await site.status(invented())
    site.issuers = [new]
    statuses = set()
    for _ in range(29):
        clock.now += 1
        statuses |= {await site.status(invented()), await site.status(new.token(jti=str(clock.now)))}
    assert {503} == statuses
    assert 2 == site.fetches
    clock.now += 1
    assert 200 == await site.status(new.token())
    assert [401, 401] == [await site.status(issuer.token()) for _ in range(2)]


async def test_a_fetch_that_the_cooldown_postpones_begins_by_itself_at_its_end(issuer: Issuer) -> None:
    new = Issuer()
    site = Published(issuer, cooldown=0.3)
    assert 200 == await site.status(issuer.token())
    site.issuers = [new]
    assert 503 == await site.status(new.token())
    assert 1 == site.fetches
    await asyncio.sleep(0.5)
    assert 2 == site.fetches
    assert [200, 401] == [await site.status(one.token()) for one in (new, issuer)]
    assert 2 == site.fetches


async def test_no_fetch_follows_when_no_token_was_postponed(issuer: Issuer) -> None:
    site = Published(issuer, cooldown=0.1)
    assert [200, 200] == [await site.status(issuer.token()) for _ in range(2)]
    await asyncio.sleep(0.3)
    assert 1 == site.fetches


async def test_a_key_is_unknown_when_a_fetch_that_began_later_has_ended_without_it(issuer: Issuer) -> None:
    """A fetch that was under way may have been answered before the key was published."""
    clock, new = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 200 == await site.status(issuer.token())
    clock.now += 31
    site.seconds = 0.3
    asking = asyncio.create_task(site.status(invented()))
    while site.fetches < 2:
        await asyncio.sleep(0.01)
    site.issuers = [new]
    assert 503 == await site.status(new.token())
    assert 401 == await asking
    clock.now += 30
    assert 200 == await site.status(new.token())


async def test_a_failed_fetch_makes_no_key_unknown_and_the_cooldown_counts_from_its_end(issuer: Issuer) -> None:
    clock, new = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 200 == await site.status(issuer.token())
    clock.now += 31
    site.fails = True
    assert [503, 503] == [await site.status(new.token()) for _ in range(2)]
    assert 2 == site.fetches
    site.fails, site.issuers = False, [new]
    clock.now += 31
    assert 200 == await site.status(new.token())


async def test_a_key_stays_unknown_for_a_minute_and_a_fetch_in_it_changes_nothing(issuer: Issuer) -> None:
    clock, other = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 401 == await site.status(other.token())
    clock.now += 31
    assert 401 == await site.status(invented())
    assert (401, 2) == (await site.status(other.token()), site.fetches)
    clock.now += 31
    assert (401, 2) == (await site.status(other.token()), site.fetches)
    clock.now += 31
    assert (401, 3) == (await site.status(other.token()), site.fetches)


async def test_a_thousand_invented_keys_push_out_no_removed_one(issuer: Issuer) -> None:
    clock, new = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 200 == await site.status(issuer.token())
    other = Issuer()
    for number in range(1000):
        other.signer = type(other.signer)(other.key)
        other.key.kid = f"kid-{number}"
        assert 503 == await site.status(other.token())
    site.issuers = [new]
    clock.now += 31
    assert [200, 401] == [await site.status(one.token()) for one in (new, issuer)]
    assert 2 == site.fetches


async def test_a_revoked_key_verifies_nothing_whatever_is_fetched(issuer: Issuer) -> None:
    clock, new = Clock(), Issuer()
    site = Published(issuer, new, clock=clock)
    token = issuer.token()
    assert [200, 200] == [await site.status(token) for _ in range(2)]
    assert issuer.key.kid
    site.keys.revoke([issuer.key.kid, "another"])
    assert [401, 200] == [await site.status(one) for one in (token, new.token())]
    clock.now += 31
    assert 401 == await site.status(invented())
    assert (401, 2) == (await site.status(token), site.fetches)
    with pytest.raises(InvalidToken) as refused:
        await site.server.verify(token)
    assert "revoked_key" == refused.value.reason
    site.keys.revoke([])
    assert 200 == await site.status(token)


async def test_a_pinned_key_can_be_revoked_too(issuer: Issuer) -> None:
    keys = StaticKeySet(issuer.jwks)
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=keys, clock=lambda: NOW)
    token = issuer.token()
    assert "6f1c" == (await server.verify(token)).sub
    keys.revoke([issuer.key.kid or ""])
    with pytest.raises(InvalidToken, match="expired, revoked"):
        await server.verify(token)


async def test_the_key_of_a_revocation_list_is_fetched_within_the_cooldown_once_a_second(issuer: Issuer) -> None:
    clock, new = Clock(), Issuer()
    site = Published(issuer, clock=clock)
    assert 200 == await site.status(issuer.token())
    site.issuers = [new]
    clock.now += 0.5
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await site.keys.fetch_signer(new.key.kid or "")
    assert 1 == site.fetches
    clock.now += 0.5
    assert new.key.kid == (await site.keys.fetch_signer(new.key.kid or "")).kid
    for _ in range(3):
        with pytest.raises((InvalidToken, IssuerUnavailable)):
            await site.keys.fetch_signer("invented")
    assert 2 == site.fetches
    assert [200, 401] == [await site.status(one.token()) for one in (new, issuer)]
