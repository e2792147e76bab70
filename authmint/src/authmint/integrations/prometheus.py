"""An observer with metrics for Prometheus. It needs `prometheus_client`: install `authmint[prometheus]`.

auth = ResourceServer(…, observer=PrometheusObserver())
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

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
    """Counts events, and measures fetches of keys in seconds. Labels have a fixed set of values: no token and no `kid`."""

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

    def __call__(self, event: VerificationEvent) -> None:
        if event.name == "token_refused":
            self._refused.labels(event.reason).inc()
        elif event.name in {"keys_fetched", "key_fetch_failed"}:
            self._fetches.labels("ok" if event.name == "keys_fetched" else "failed").observe(event.seconds or 0)
        else:
            self._events[event.name].inc()
