"""Metrics for Prometheus at `/metrics`, made on request from what the processes know already.

They are those of all processes below one parent, whichever of them is asked; the keys and the clock are its own.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from authmint_service.database_clock import DatabaseClock
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.metrics import MetricFamily, SharedCounters
from authmint_service.signing_keys import Policy, RotatingKeyRing, State

METRICS = "/metrics"
MAX_COMPLETE_SERIES = 100
"""A family of more series than this reports only those that are not zero."""


class CounterCollector(Collector):
    """What all processes have counted."""

    def __init__(self, counters: SharedCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        totals = self._counters.totals()
        for family in self._counters.families.values():
            if family.kind == "histogram":
                yield _histogram(family, totals)
                continue
            metric = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
                family.name, family.help, labels=family.labels
            )
            for values, cell in family.series():
                if totals[cell] or family.series_count <= MAX_COMPLETE_SERIES:
                    metric.add_metric(values, totals[cell])
            yield metric
        yield self._worker_requests()

    def _worker_requests(self) -> Metric:
        """Return how evenly the processes are used."""
        metric = CounterMetricFamily("authmint_worker_http_requests", "HTTP requests, by the process", labels=["worker"])
        for number in range(self._counters.rows):
            if count := self._counters.total_in(number, "authmint_http_requests"):
                metric.add_metric([str(number)], count)
        return metric


def _histogram(family: MetricFamily, totals: Sequence[float]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for values, first in family.series():
        *bucketed, seconds = totals[first : first + family.width]
        bounds = [*map(str, family.buckets), "+Inf"]
        if any(bucketed) or not family.labels:
            metric.add_metric(values, list(zip(bounds, accumulate(bucketed), strict=True)), seconds)
    return metric


class KeyCollector(Collector):
    """The signing keys of this process, and its clock."""

    def __init__(self, ring: RotatingKeyRing | None, policy: Policy, clock: DatabaseClock) -> None:
        self._ring, self._policy, self._clock = ring, policy, clock

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("authmint_clock_offset_seconds", "This process's clock less the database's", self._clock.offset)
        if self._ring is not None:
            yield from self._keys(self._ring, self._clock())

    def _keys(self, ring: RotatingKeyRing, now: float) -> Iterable[Metric]:
        states = GaugeMetricFamily("authmint_signing_keys", "Signing keys, by state", labels=["state"])
        for state, count in ring.states().items():
            states.add_metric([state], count)
        yield states
        for key in ring.keys:
            if key.schedule.state(now) is State.ACTIVE:
                began, ends = key.schedule.active_from, key.schedule.retired_at
                left = (began + self._policy.period if ends is None else ends) - now
                yield GaugeMetricFamily("authmint_signing_key_age_seconds", "How long the active key has signed", now - began)
                yield GaugeMetricFamily("authmint_signing_key_next_rotation_seconds", "Time until the next key signs", left)


class MetricsEndpoint:
    """`GET /metrics`. It holds no secret; the network decides who may reach it."""

    def __init__(
        self, *collectors: Collector, sample: Callable[[], None], estimate: Callable[[], Awaitable[float | None]]
    ) -> None:
        """`sample`: brings the gauges of this process up to date; `estimate`: the rows of the table of sessions."""
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        self._sample, self._estimate = sample, estimate

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        router.add_api_route(
            METRICS, self.metrics, response_class=Response, summary="Metrics for Prometheus", responses=text,
            operation_id="getMetrics",
        )  # fmt: skip
        return router

    async def metrics(self) -> Response:
        self._sample()
        text = generate_latest(self._registry) + await self._session_rows()
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    async def _session_rows(self) -> bytes:
        """Return the estimate; nothing while the database is unavailable, or has no estimate yet."""
        try:
            rows = await self._estimate()
        except (DatabaseUnavailable, SchemaOutdated):
            return b""
        if rows is None:
            return b""
        registry = CollectorRegistry()
        explanation = "Rows of sessions as PostgreSQL last estimated: live ones, and those that are not yet pruned"
        Gauge("authmint_session_rows_estimate", explanation, registry=registry).set(rows)
        return generate_latest(registry)
