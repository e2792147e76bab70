"""Metrics for Prometheus at `/metrics`, made on request from what the processes know already.

They are those of all processes below one parent, whichever of them is asked; the keys and the clock are its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from authmint_service.database_clock import DatabaseClock
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.metrics import MetricFamily, Metrics, SharedCounters
from authmint_service.signing_keys import KeyRing, RotationPolicy, State

METRICS = "/metrics"
CACHE_SECONDS = 1.0
"""How old a response may be."""
MAX_COMPLETE_SERIES = 100
"""A family of more series than this reports only those that are not zero."""


class CounterCollector(Collector):
    """What all processes have counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @property
    def _counters(self) -> SharedCounters:
        return self._metrics.counters

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

    def __init__(self, ring: KeyRing, policy: RotationPolicy, clock: DatabaseClock) -> None:
        self._ring, self._policy, self._clock = ring, policy, clock

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("authmint_clock_offset_seconds", "This process's clock less the database's", self._clock.offset)
        if self._ring.publishes_keys:
            yield from self._keys(self._clock())

    def _keys(self, now: float) -> Iterable[Metric]:
        states = GaugeMetricFamily("authmint_signing_keys", "Signing keys, by state", labels=["algorithm", "state"])
        for line_and_state, count in self._ring.states().items():
            states.add_metric(line_and_state, count)
        line = ["algorithm"]
        age = GaugeMetricFamily("authmint_signing_key_age_seconds", "How long the active key has signed", labels=line)
        left = GaugeMetricFamily("authmint_signing_key_next_rotation_seconds", "Time until the active key retires", labels=line)
        for key in self._ring.keys:
            if key.schedule.state(now) is State.ACTIVE:
                began, ends = key.schedule.active_from, key.schedule.retired_at
                age.add_metric([key.algorithm], now - began)
                left.add_metric([key.algorithm], (began + self._policy.period if ends is None else ends) - now)
        yield from (states, age, left)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric that the database is asked for."""

    name: str
    help: str
    read: Callable[[], Awaitable[float | None]]
    """May return None while there is no estimate, and raise DatabaseUnavailable or SchemaOutdated."""


class MetricsEndpoint:
    """`GET /metrics`. It holds no secret; the network decides who may reach it."""

    def __init__(
        self,
        collectors: Sequence[Collector],
        estimates: Sequence[Estimate],
        *,
        sample: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sample`: brings the gauges of this process up to date; `clock`: seconds, for the age of a response."""
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        self._estimates, self._sample, self._clock = estimates, sample, clock
        self._lock = asyncio.Lock()
        self._text, self._made_at = b"", float("-inf")

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        router.add_api_route(
            METRICS, self.metrics, response_class=Response, summary="Metrics for Prometheus", responses=text,
            operation_id="getMetrics",
        )  # fmt: skip
        return router

    async def metrics(self) -> Response:
        """Respond with what is at most CACHE_SECONDS old: however many ask, the work is done once a second."""
        async with self._lock:
            if self._clock() - self._made_at >= CACHE_SECONDS:
                made_at = self._clock()
                self._sample()
                self._text = generate_latest(self._registry) + await self._read_estimates()
                # Not before: what could not be made is no reason to respond with an older text, or with none.
                self._made_at = made_at
        return Response(self._text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    async def _read_estimates(self) -> bytes:
        """Return those that there are; the database may be unavailable, or may have no estimate yet."""
        registry = CollectorRegistry()
        for estimate in self._estimates:
            with suppress(DatabaseUnavailable, SchemaOutdated):
                value = await estimate.read()
                if value is not None:
                    Gauge(estimate.name, estimate.help, registry=registry).set(value)
        return generate_latest(registry)
