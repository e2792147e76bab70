"""Which metrics there are, and how requests count in them. No label holds anything that a client chose."""

from bisect import bisect_left
from collections.abc import Collection, MutableMapping
from typing import Any

from authmint_service.metrics.gauge import Gauge
from authmint_service.metrics.shared_counters import Kind, MetricFamily, SharedCounters

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
STATUSES = (
    "200", "201", "204", "304", "307", "400", "401", "403", "404", "405", "406", "408", "411", "413", "414", "415", "421",
    "422", "429", "431", "500", "503", "other",
)  # fmt: skip
NONE = "none"
"""The label of a request that no route matched, and of an error that belongs to no grant."""
OAUTH_ERRORS = (
    "access_denied", "insufficient_scope", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope",
    "invalid_target", "invalid_token", "server_error", "temporarily_unavailable",
    "unauthorized_client", "unsupported_grant_type",
)  # fmt: skip
SESSION_EVENTS = (
    "started", "refreshed", "revoked", "evicted", "reused", "repeated", "repeated_elsewhere", "repeated_late",
    "newer_than_database",
)  # fmt: skip
BREACH_OUTCOMES = ("found", "not_found", "unavailable")
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_METHOD = {name: number * len(STATUSES) for number, name in enumerate(METHODS)}
_STATUS = {int(name): number for number, name in enumerate(STATUSES) if name.isdecimal()}
_OTHER_METHOD, _OTHER_STATUS = _METHOD["other"], len(STATUSES) - 1


def _families(routes: tuple[str, ...], grant_types: tuple[str, ...]) -> list[MetricFamily]:
    gauge: Kind = "gauge"
    counter: Kind = "counter"
    return [
        MetricFamily("authmint_http_requests", "HTTP requests", counter, ("route", "method", "status"),
                     (routes, METHODS, STATUSES)),
        MetricFamily("authmint_http_request_duration_seconds", "Duration of HTTP requests", "histogram", ("route",), (routes,),
                     REQUEST_SECONDS),
        MetricFamily("authmint_tokens_issued", "Access tokens that were issued", counter, ("grant_type",), (grant_types,)),
        MetricFamily("authmint_oauth_errors", "OAuth errors that were returned", counter, ("error", "grant_type"),
                     (OAUTH_ERRORS, (*grant_types, NONE))),
        MetricFamily("authmint_session_events", "Changes of sessions since this service was started", counter, ("event",),
                     (SESSION_EVENTS,)),
        MetricFamily("authmint_password_breach_checks", "New passwords looked up in the list of breached ones", counter,
                     ("outcome",), (BREACH_OUTCOMES,)),
        MetricFamily("authmint_event_loop_lag_seconds", "How late an event loop ran what was due", "histogram",
                     buckets=LAG_SECONDS),
        MetricFamily("authmint_workers_ready", "Processes that serve", gauge),
    ]  # fmt: skip


class Metrics:
    """What one process counts. It writes into the first row until `bind_worker` names another.

    The parts that count are made before the routes are known that they count by, so memory is allocated apart.
    """

    def __init__(self) -> None:
        self.counters: SharedCounters

    def allocate(self, *, routes: Collection[str], grants: Collection[str], rows: int, gauges: Collection[Gauge] = ()) -> None:
        """Allocate the shared memory. When it was allocated already, for the application before this one, count on in that.

        `routes`: templates, as /accounts/{account_id}; `grants`: values of grant_type; `rows`: most processes at a time.
        """
        if hasattr(self, "counters"):
            return
        known = (*sorted(routes), NONE)
        families_known = (*_families(known, tuple(grants)), *(gauge.family for gauge in gauges))
        self.counters = SharedCounters(families_known, rows)
        families = self.counters.families
        first, width = families["authmint_http_requests"].first, len(METHODS) * len(STATUSES)
        durations = families["authmint_http_request_duration_seconds"].series()
        # For each route: where its requests are counted, and where their durations are.
        self._routes = {route: (first + number * width, cell) for number, (((route,), cell)) in enumerate(durations)}
        self._no_route = self._routes[NONE]
        self._tokens: dict[object, int] = {values[0]: cell for values, cell in families["authmint_tokens_issued"].series()}
        self._errors: dict[object, int] = dict(families["authmint_oauth_errors"].series())
        self._sessions = {values[0]: cell for values, cell in families["authmint_session_events"].series()}
        self._breaches = {values[0]: cell for values, cell in families["authmint_password_breach_checks"].series()}
        self._lag, self._ready = families["authmint_event_loop_lag_seconds"].first, families["authmint_workers_ready"].first
        self.bind_worker(0)

    def bind_worker(self, row: int) -> None:
        """Count in `row` from now on: it belongs to this process."""
        self._row = self.counters.row(row)

    @property
    def rows(self) -> int:
        return self.counters.rows

    def clear_worker(self, row: int) -> None:
        """Clear the gauges of a process that has ended."""
        self.counters.clear_gauges(row)

    def mark_ready(self) -> None:
        """Record that this process serves."""
        self._row[self._ready] = 1.0

    def is_ready(self, row: int) -> bool:
        return self.counters.row(row)[self._ready] == 1.0

    def observe_request(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        """Count a request that has ended. `scope`: as ASGI has it."""
        row = self._row
        requests, durations = self._routes.get(scope["path"]) or self._of_route(scope)
        row[requests + _METHOD.get(scope["method"], _OTHER_METHOD) + _STATUS.get(status, _OTHER_STATUS)] += 1.0
        row[durations + bisect_left(REQUEST_SECONDS, seconds)] += 1.0
        row[durations + len(REQUEST_SECONDS) + 1] += seconds

    def count_token(self, grant_type: str | None) -> None:
        """Count an access token that was issued. `grant_type`: one of `grants`."""
        self._row[self._tokens[grant_type]] += 1.0

    def count_oauth_error(self, error: str, grant_type: str | None) -> None:
        """Count an error that was returned, if it is one of OAUTH_ERRORS. `grant_type`: None elsewhere than at /token."""
        cell = self._errors.get((error, grant_type or NONE))
        if cell is not None:
            self._row[cell] += 1.0

    def _of_route(self, scope: MutableMapping[str, Any]) -> tuple[int, int]:
        return self._routes.get(getattr(scope.get("route"), "path", NONE), self._no_route)

    def count_session_event(self, event: str, count: int) -> None:
        """Add `count` to an event, one of SESSION_EVENTS."""
        self._row[self._sessions[event]] += count

    def count_breach_check(self, outcome: str) -> None:
        """Count a new password that was looked up. `outcome`: one of BREACH_OUTCOMES."""
        self._row[self._breaches[outcome]] += 1.0

    def observe_lag(self, seconds: float) -> None:
        """Count something that ran `seconds` later than it was due."""
        self._row[self._lag + bisect_left(LAG_SECONDS, seconds)] += 1.0
        self._row[self._lag + len(LAG_SECONDS) + 1] += seconds

    def set(self, name: str, value: float) -> None:
        """Set a gauge without labels, for this process."""
        self._row[self.counters.families[name].first] = value

    def add(self, name: str, value: float) -> None:
        """Add to a counter without labels, for this process."""
        self._row[self.counters.families[name].first] += value
