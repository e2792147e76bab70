"""The observer for Prometheus: every event is counted, and no label holds anything that a caller sent."""

from collections.abc import Iterator
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from authmint import InvalidToken, RemoteKeySet, ResourceServer, VerificationEvent
from authmint.background_thread import wait
from authmint.events import EventName
from authmint.fetching import FetchError, JSONDocument
from authmint.integrations.prometheus import PrometheusObserver
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = pytest.mark.anyio


async def test_events_are_counted_and_no_token_or_kid_is_shown(issuer: Issuer) -> None:
    registry = CollectorRegistry()
    server = ResourceServer(
        issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW, observer=PrometheusObserver(registry)
    )
    good, expired, other = issuer.token(), issuer.token(iat=NOW - 900, exp=NOW - 300), Issuer().token()
    for token in (good, good, good):
        await server.verify(token)
    for token in (expired, expired, other, "canary"):
        with pytest.raises(InvalidToken):
            await server.verify(token)
    assert 1 == registry.get_sample_value("authmint_verifier_tokens_verified_total")
    assert 2 == registry.get_sample_value("authmint_verifier_tokens_cached_total")
    assert 2 == registry.get_sample_value("authmint_verifier_tokens_refused_total", {"reason": "expired"})
    assert 1 == registry.get_sample_value("authmint_verifier_tokens_refused_total", {"reason": "unknown_key"})
    assert 1 == registry.get_sample_value("authmint_verifier_tokens_refused_total", {"reason": "malformed_token"})
    shown = generate_latest(registry).decode()
    assert not [secret for secret in (good, expired, other, "canary", issuer.key.kid, "6f1c") if str(secret) in shown]


async def test_fetches_are_timed_by_outcome(issuer: Issuer) -> None:
    registry = CollectorRegistry()
    answers: Iterator[FetchError | JSONDocument] = iter([FetchError("away"), JSONDocument(issuer.jwks, None)])

    async def source() -> JSONDocument:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = [0.0]
    keys = RemoteKeySet(source, clock=lambda: clock[0], observer=PrometheusObserver(registry))
    for _ in range(2):
        await wait(keys.job.run())
        clock[0] += 60
    for outcome in ("ok", "failed"):
        assert 1 == registry.get_sample_value("authmint_verifier_key_fetch_duration_seconds_count", {"outcome": outcome})


def test_every_event_has_its_metric() -> None:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    for name in get_args(EventName):
        before = generate_latest(registry)
        observer(VerificationEvent(name, "expired" if name == "token_refused" else "", 0.1, ISSUER, 0.1))
        assert before != generate_latest(registry)
