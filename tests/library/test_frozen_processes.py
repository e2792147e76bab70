"""A process that is frozen between two requests, as function instances are.

What a freeze has ended says nothing of the issuer, so it is no attempt: else none would ever have an outcome, and a revoked
key or token would be good for as long as the instance lives.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from authmint import InvalidToken, ResourceServer
from authmint.background_thread import current_process
from tests.library.conftest import AUDIENCE, NOW, Issuer
from tests.library.web import LIST_PATH, Clock, Web, publish, publish_list, web_in_thread

Freeze = Callable[[Clock, float], None]


@pytest.fixture
def site(issuer: Issuer) -> Iterator[Web]:
    with web_in_thread() as site:
        publish(site, issuer)
        publish_list(site, issuer)
        yield site


@pytest.fixture
def freeze(monkeypatch: pytest.MonkeyPatch) -> Freeze:
    """Return what freezes the process for some seconds: after them each time-out that ended meanwhile is due at once."""
    frozen = 0.0
    monkeypatch.setattr("authmint.background_thread._Loop.time", lambda _: time.monotonic() + frozen)
    monkeypatch.setattr("authmint.fetching.ElapsedTime", lambda: lambda: time.monotonic() + frozen)

    def freeze(clock: Clock, seconds: float) -> None:
        nonlocal frozen
        frozen += seconds
        clock.now += seconds
        process = current_process()
        with process.lock:
            process.call(lambda: None)

    return freeze


def hangs(site: Web, path: str) -> None:
    """Let no request to `path` have a response, and wait until one is under way."""
    site.answers[path] = None
    another_is_under_way(site, path)


def another_is_under_way(site: Web, path: str) -> None:
    def count() -> int:
        return sum(hit.startswith(path) for hit in site.hits)

    seen, end = count(), time.monotonic() + 10
    while count() == seen:
        assert time.monotonic() < end
        time.sleep(0.01)


def refusal(auth: ResourceServer, token: str) -> str | None:
    try:
        auth.verify_sync(token)
    except InvalidToken as error:
        return error.reason
    return None


def test_a_list_is_fetched_in_time_though_each_poll_was_frozen(site: Web, issuer: Issuer, freeze: Freeze) -> None:
    clock, token = Clock(), issuer.token(iss=site.url, sid="one")
    auth = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, revocation_list=True)
    assert refusal(auth, token) is None
    hangs(site, LIST_PATH)
    for _ in range(2):
        freeze(clock, 14)
        another_is_under_way(site, LIST_PATH)
        assert refusal(auth, token) is None
    publish_list(site, issuer, "one", at=clock.now)
    freeze(clock, 14)
    assert "revoked" == refusal(auth, token)


def test_a_list_that_fails_closed_is_fetched_before_it_is_too_old(site: Web, issuer: Issuer, freeze: Freeze) -> None:
    """It may be 20 seconds old when it is fetched, and is too old 40 seconds later."""
    clock, token = Clock(), issuer.token(iss=site.url)
    publish_list(site, issuer, at=NOW - 20)
    auth = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock, revocation_list=True, revocation_list_fail="closed")
    assert refusal(auth, token) is None
    hangs(site, LIST_PATH)
    publish_list(site, issuer, at=NOW + 40)
    freeze(clock, 45)
    assert refusal(auth, token) is None


def test_keys_are_refreshed_in_time_though_each_fetch_was_frozen(
    site: Web, issuer: Issuer, freeze: Freeze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint.key_sets.random.uniform", lambda _, most: most)
    clock, newcomer = Clock(), Issuer()
    auth = ResourceServer(issuer=site.url, audience=AUDIENCE, clock=clock)
    old, new = (one.token(iss=site.url, exp=NOW + 600) for one in (issuer, newcomer))
    assert refusal(auth, old) is None
    clock.now += 301
    site.answers["/jwks"] = None
    assert refusal(auth, old) is None
    another_is_under_way(site, "/jwks")
    freeze(clock, 20)
    another_is_under_way(site, "/jwks")
    freeze(clock, 20)
    assert refusal(auth, old) is None
    publish(site, newcomer)
    freeze(clock, 20)
    assert ["unknown_key", None] == [refusal(auth, one) for one in (old, new)]
