"""Which figures there are, and how a request adds to them. No label is anything that a client chose."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from authmint_service.metrics.shared_counters import Kind, MetricFamily, SharedCounters

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other")
STATUSES = (
    "200", "201", "204", "304", "307", "400", "401", "403", "404", "405", "406", "408", "411", "413", "414", "415", "421",
    "422", "429", "431", "500", "503", "other",
)  # fmt: skip
NO_ROUTE = "none"
REFUSALS = (
    "access_denied", "insufficient_scope", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope",
    "invalid_target", "invalid_token", "server_error", "temporarily_unavailable",
    "unauthorized_client", "unsupported_grant_type",
)  # fmt: skip
SESSION_EVENTS = ("started", "refreshed", "revoked", "reused")
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_METHOD = {name: number * len(STATUSES) for number, name in enumerate(METHODS)}
_STATUS = {int(name): number for number, name in enumerate(STATUSES) if name.isdecimal()}
_OTHER_METHOD, _OTHER_STATUS = _METHOD["other"], len(STATUSES) - 1


def _families(routes: tuple[str, ...], grants: tuple[str, ...]) -> list[MetricFamily]:
    gauge: Kind = "gauge"
    counter: Kind = "counter"
    return [
        MetricFamily("authmint_http_requests", "Requests that were answered", counter, ("route", "method", "status"),
               (routes, METHODS, STATUSES)),
        MetricFamily("authmint_http_request_duration_seconds", "How long requests took", "histogram", ("route",), (routes,), REQUEST_SECONDS),
        MetricFamily("authmint_tokens", "Access tokens that were issued", counter, ("grant",), (grants,)),
        MetricFamily("authmint_oauth_errors", "Requests that were refused, by the word of OAuth", counter, ("reason",),
               (REFUSALS,)),
        MetricFamily("authmint_session_events", "What became of sessions here, since this service was started", counter, ("event",),
               (SESSION_EVENTS,)),
        MetricFamily("authmint_event_loop_lag_seconds", "How late an event loop got to what was due", "histogram",
               buckets=LAG_SECONDS),
        MetricFamily("authmint_workers_ready", "Processes that serve", gauge),
        MetricFamily("authmint_password_hash_slots", "Password hashes that may be computed at a time", gauge),
        MetricFamily("authmint_password_hashes_running", "Password hashes that are being computed", gauge),
        MetricFamily("authmint_password_hashes_queued", "Sign-ins that wait for a hash", gauge),
        MetricFamily("authmint_password_hashes_refused", "Sign-ins that found no place to wait", counter),
        MetricFamily("authmint_database_connections_max", "Connections to the database, at most", gauge),
        MetricFamily("authmint_database_connections_open", "Connections to the database", gauge),
        MetricFamily("authmint_database_connections_idle", "Connections to the database that nobody uses", gauge),
        MetricFamily("authmint_database_connection_waits", "Statements that waited for a connection", counter),
        MetricFamily("authmint_database_connection_timeouts", "Statements that waited for a connection in vain", counter),
    ]  # fmt: skip


class Metrics:
    """What one process counts. Until `bind_worker`, in the first row."""

    def __init__(self, *, routes: Collection[str], grants: Collection[str], rows: int) -> None:
        """`routes`: templates, as /users/{account_id}; `rows`: processes that may run at a time."""
        known = (*sorted(routes), NO_ROUTE)
        self.cells = SharedCounters(_families(known, tuple(grants)), rows)
        families = self.cells.families
        first, width = families["authmint_http_requests"].first, len(METHODS) * len(STATUSES)
        durations = families["authmint_http_request_duration_seconds"].series()
        # For each route: where its requests are counted, and where their durations are.
        self._routes = {route: (first + number * width, cell) for number, (((route,), cell)) in enumerate(durations)}
        self._no_route = self._routes[NO_ROUTE]
        self._tokens = {values[0]: cell for values, cell in families["authmint_tokens"].series()}
        self._refusals = {values[0]: cell for values, cell in families["authmint_oauth_errors"].series()}
        self._sessions = {values[0]: cell for values, cell in families["authmint_session_events"].series()}
        self._lag, self._ready = families["authmint_event_loop_lag_seconds"].first, families["authmint_workers_ready"].first
        self.bind_worker(0)

    def bind_worker(self, row: int) -> None:
        """This process's row from now on."""
        self._row = self.cells.row(row)

    @property
    def rows(self) -> int:
        return self.cells.rows

    def forget(self, row: int) -> None:
        """The process of this row has ended."""
        self.cells.forget_gauges(row)

    def mark_ready(self) -> None:
        """This process serves."""
        self._row[self._ready] = 1.0

    def is_ready(self, row: int) -> bool:
        return self.cells.row(row)[self._ready] == 1.0

    def request(self, scope: MutableMapping[str, Any], status: int, seconds: float, facts: Mapping[str, object]) -> None:
        """A request was answered. `scope`: as ASGI has it; `facts`: what its line in the log says."""
        row = self._row
        requests, durations = self._routes.get(scope["path"]) or self._of_route(scope)
        row[requests + _METHOD.get(scope["method"], _OTHER_METHOD) + _STATUS.get(status, _OTHER_STATUS)] += 1.0
        row[durations + bisect_left(REQUEST_SECONDS, seconds)] += 1.0
        row[durations + len(REQUEST_SECONDS) + 1] += seconds
        if facts.get("event") == "token.issued":
            row[self._tokens[facts["grant"]]] += 1.0  # type: ignore[index]  # a name of a grant
        elif "error" in facts and (cell := self._refusals.get(facts["error"])) is not None:  # type: ignore[call-overload]
            row[cell] += 1.0

    def _of_route(self, scope: MutableMapping[str, Any]) -> tuple[int, int]:
        return self._routes.get(getattr(scope.get("route"), "path", NO_ROUTE), self._no_route)

    def session(self, event: str, count: int) -> None:
        """`event`: one of SESSION_EVENTS."""
        self._row[self._sessions[event]] += count

    def lag(self, seconds: float) -> None:
        """Something that was due ran so late."""
        self._row[self._lag + bisect_left(LAG_SECONDS, seconds)] += 1.0
        self._row[self._lag + len(LAG_SECONDS) + 1] += seconds

    def set(self, name: str, value: float) -> None:
        """What a figure without labels is in this process."""
        self._row[self.cells.families[name].first] = value

    def add(self, name: str, value: float) -> None:
        """How much a figure without labels grew in this process."""
        self._row[self.cells.families[name].first] += value
