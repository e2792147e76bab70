"""Figures for Prometheus at `/metrics`. They are made when they are asked for, from what the processes know already.

Whichever process is asked, the figures are those of all below its parent; the keys and the clock are its own.
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
from authmint_service.signing_keys import KeyRing, RotationPolicy, State

METRICS = "/metrics"


class FigureCollector(Collector):
    """What all processes have counted. Of many combinations of labels only those that happened are told."""

    def __init__(self, cells: SharedCounters) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        totals = self._cells.totals()
        for family in self._cells.families.values():
            if family.kind == "histogram":
                yield _histogram(family, totals)
                continue
            told = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
                family.name, family.help, labels=family.labels
            )
            for values, cell in family.series():
                if totals[cell] or len(family.labels) < 2:
                    told.add_metric(values, totals[cell])
            yield told
        yield self._shares()

    def _shares(self) -> Metric:
        """How evenly the processes are asked."""
        told = CounterMetricFamily("authmint_worker_http_requests", "Requests, by the process that answered", labels=["worker"])
        for number in range(self._cells.rows):
            if respond := self._cells.total_in(number, "authmint_http_requests"):
                told.add_metric([str(number)], respond)
        return told


def _histogram(family: MetricFamily, totals: Sequence[float]) -> Metric:
    told = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for values, first in family.series():
        *bucketed, seconds = totals[first : first + family.width]
        bounds = [*map(str, family.buckets), "+Inf"]
        if any(bucketed) or not family.labels:
            told.add_metric(values, list(zip(bounds, accumulate(bucketed), strict=True)), seconds)
    return told


class KeyCollector(Collector):
    """The signing keys of this process, and its clock."""

    def __init__(self, ring: KeyRing, policy: RotationPolicy, clock: DatabaseClock) -> None:
        self._ring, self._policy, self._clock = ring, policy, clock

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("authmint_clock_offset_seconds", "This process's clock less the database's", self._clock.ahead)
        if self._ring.publishes_keys:
            yield from self._keys(self._clock())

    def _keys(self, now: float) -> Iterable[Metric]:
        states = GaugeMetricFamily("authmint_signing_keys", "Signing keys, by what they are at the moment", labels=["state"])
        for state, count in self._ring.states().items():
            states.add_metric([state], count)
        yield states
        for key in self._ring.keys:
            if key.schedule.state(now) is State.ACTIVE:
                began, ends = key.schedule.active_from, key.schedule.retired_at
                age = now - began
                left = (began + self._policy.period if ends is None else ends) - now
                yield GaugeMetricFamily("authmint_signing_key_age_seconds", "How long the active key has signed", age)
                yield GaugeMetricFamily(
                    "authmint_signing_key_next_rotation_seconds", "Seconds until the next key is active", left
                )


class MetricsEndpoint:
    """Answers `GET /metrics`. Nothing in it is a secret; who may ask is the network's business."""

    def __init__(
        self, *collectors: Collector, look: Callable[[], None], estimate: Callable[[], Awaitable[float | None]]
    ) -> None:
        """`look`: brings this process's gauges up to date; `estimate`: of the rows of the table of sessions."""
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        self._look, self._estimate = look, estimate

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        router.add_api_route(METRICS, self.answer, response_class=Response, summary="Figures for Prometheus", responses=text)
        return router

    async def answer(self) -> Response:
        self._look()
        told = generate_latest(self._registry) + await self._rows()
        return Response(told, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    async def _rows(self) -> bytes:
        """Nothing while the database is away, or has never looked."""
        try:
            rows = await self._estimate()
        except (DatabaseUnavailable, SchemaOutdated):
            return b""
        if rows is None:
            return b""
        registry = CollectorRegistry()
        explanation = (
            "Rows of sessions, as PostgreSQL last estimated: those that live, and those that are over and not yet pruned"
        )
        Gauge("authmint_session_rows_estimate", explanation, registry=registry).set(rows)
        return generate_latest(registry)
