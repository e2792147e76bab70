"""An observer with metrics for Prometheus. It needs `prometheus_client`: install `authmint[prometheus]`.

auth = ResourceServer(…, observer=PrometheusObserver())
"""

import time

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from authmint.events import VerificationEvent

_EVENTS = {
    "token_verified": "authmint_verifier_tokens_verified",
    "token_cached": "authmint_verifier_tokens_cached",
    "issuer_unavailable": "authmint_verifier_issuer_unavailable",
    "stale_keys_used": "authmint_verifier_stale_keys_used",
    "unknown_key": "authmint_verifier_unknown_keys",
    "fetch_postponed": "authmint_verifier_key_fetches_postponed",
}


class PrometheusObserver:
    """Counts events, measures fetches of keys in seconds, and has the time of each revocation list.

    Labels have a fixed set of values: no token and no `kid`. A list is too old when this is true:
    `time() - authmint_verifier_revocation_list_timestamp_seconds > 60`.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Raise ValueError when `registry` has these metrics already: share one observer among resource servers."""
        self._events = {
            event: Counter(name, event.replace("_", " ").capitalize(), registry=registry) for event, name in _EVENTS.items()
        }
        self._refused = Counter("authmint_verifier_tokens_refused", "Tokens refused, by reason", ["reason"], registry=registry)
        self._fetches = Histogram(
            "authmint_verifier_key_fetch_duration_seconds",
            "Fetches of an issuer's keys, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._list_fetches = Counter(
            "authmint_verifier_revocation_list_fetches",
            "Fetches of an issuer's revocation list, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._list_times = Gauge(
            "authmint_verifier_revocation_list_timestamp_seconds",
            "When an issuer made the newest revocation list that was accepted; 0 before the first",
            ["issuer"],
            registry=registry,
            multiprocess_mode="livemin",
        )

    def __call__(self, event: VerificationEvent) -> None:
        if event.name == "token_refused":
            self._refused.labels(event.reason).inc()
        elif event.name in {"keys_fetched", "key_fetch_failed"}:
            self._fetches.labels("ok" if event.name == "keys_fetched" else "failed").observe(event.seconds or 0)
        elif event.name.startswith("list_"):
            self._list_times.labels(event.issuer).set(0 if event.age is None else time.time() - event.age)
            if event.name in {"list_fetched", "list_fetch_failed"}:
                self._list_fetches.labels("ok" if event.name == "list_fetched" else "failed").inc()
        else:
            self._events[event.name].inc()
