"""A revocation list that is too old is noticed: by the log, by events, by metrics, and by a readiness check."""

import logging
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from authmint import ResourceServer, VerificationEvent
from authmint.integrations.prometheus import PrometheusObserver
from authmint.list_freshness import ListFreshness
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer
from tests.library.web import LIST_PATH, Clock, Web, publish, publish_list, web_in_thread

LISTS = "https://lists.example"


@pytest.fixture
def site(issuer: Issuer) -> Iterator[Web]:
    with web_in_thread() as site:
        publish(site, issuer)
        yield site


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("fails_closed", "consequence"), [(False, "a revoked token may be accepted"), (True, "no token is accepted")]
)
def test_a_list_that_becomes_too_old_is_reported_once_and_once_more_when_it_is_fresh_again(
    caplog: pytest.LogCaptureFixture, consequence: str, *, fails_closed: bool
) -> None:
    caplog.set_level(logging.INFO)
    seen: list[VerificationEvent] = []
    freshness = ListFreshness(LISTS, seen.append, stale_seconds=60, fails_closed=fails_closed)
    for age, was_fetched in ((3, True), (60, False), (61, False), (150, False), (1, True), (2, True)):
        freshness.report(age, was_fetched=was_fetched)
    assert [
        ("list_fetched", 3), ("list_fetch_failed", 60), ("list_fetch_failed", 61), ("list_stale", 61),
        ("list_fetch_failed", 150), ("list_fetched", 1), ("list_fresh", 1), ("list_fetched", 2),
    ] == [(event.name, event.age) for event in seen]  # fmt: skip
    assert {LISTS} == {event.issuer for event in seen}
    assert [
        (logging.WARNING, f"the revocation list of {LISTS} is 61 seconds old: {consequence}"),
        (logging.INFO, f"the revocation list of {LISTS} is fresh again"),
    ] == [(record.levelno, record.getMessage()) for record in caplog.records if LISTS in record.getMessage()]


def test_a_list_that_never_came_is_reported_and_the_first_one_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    freshness = ListFreshness(LISTS, lambda _: None, stale_seconds=60, fails_closed=False)
    for age in (None, None, 1):
        freshness.report(age, was_fetched=age is not None)
    first, second = (record.getMessage() for record in caplog.records if LISTS in record.getMessage())
    assert first.startswith("there is no revocation list")
    assert second.endswith("is fresh again")


def test_metrics_have_the_time_of_the_list(site: Web, issuer: Issuer) -> None:
    registry = CollectorRegistry()
    server = ResourceServer(
        issuer=site.url, audience=AUDIENCE, revocation_list=True, observer=PrometheusObserver(registry), clock=time.time
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"authmint_verifier_revocation_list_{name}", labels)

    server.problems()
    until(lambda: (value("fetches_total", outcome="failed") or 0) >= 1)
    assert 0 == value("timestamp_seconds", issuer=site.url)
    made = time.time() - 20
    publish_list(site, issuer, at=made)
    until(lambda: (value("fetches_total", outcome="ok") or 0) >= 1)
    assert abs((value("timestamp_seconds", issuer=site.url) or 0) - made) <= 22


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_service_that_gets_no_request_before_it_is_ready_becomes_ready(site: Web, issuer: Issuer, fail: str) -> None:
    site.json(LIST_PATH, {}, status=500)
    clock = Clock()
    server = ResourceServer(
        issuer=site.url,
        audience=AUDIENCE,
        revocation_list=True,
        clock=clock,
        revocation_list_fail="open" if fail == "open" else "closed",
    )
    assert f"The keys of {site.url} are not fetched yet, or are too old." in server.problems()
    if fail == "closed":
        until(lambda: not any("keys" in problem for problem in server.problems()))
        assert "revocation_list_fail is closed" in server.problems()[0]
    publish_list(site, issuer)
    until(lambda: server.problems() == [])
    until(lambda: server.revocation_list_age is not None)


def test_given_keys_are_no_problem(issuer: Issuer) -> None:
    assert [] == ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW).problems()
