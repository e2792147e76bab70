"""Figures for Prometheus at `/metrics`. They are made when they are asked for, from what the process knows already."""

from collections.abc import Iterable

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from service.database_clock import DatabaseClock
from service.signing_keys import KeyRing, Policy, State

DAY = 86_400


class KeyCollector(Collector):
    """The signing keys of this process, and its clock."""

    def __init__(self, ring: KeyRing | None, policy: Policy, clock: DatabaseClock) -> None:
        self._ring, self._policy, self._clock = ring, policy, clock

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("mintmark_clock_ahead_seconds", "This process's clock less the database's", self._clock.ahead)
        if self._ring is not None:
            yield from self._keys(self._ring, self._clock())

    def _keys(self, ring: KeyRing, now: float) -> Iterable[Metric]:
        states = GaugeMetricFamily("mintmark_signing_keys", "Signing keys, by what they are at the moment", labels=["state"])
        for state, count in ring.states().items():
            states.add_metric([state], count)
        yield states
        for key in ring.keys:
            if key.schedule.state(now) is State.ACTIVE:
                began, ends = key.schedule.active_from, key.schedule.retired_at
                age = now - began
                left = (began + self._policy.period if ends is None else ends) - now
                yield GaugeMetricFamily("mintmark_signing_key_age_seconds", "How long the active key has signed", age)
                yield GaugeMetricFamily("mintmark_signing_key_rotation_days", "Days until another key signs", left / DAY)


class MetricsEndpoint:
    """Answers `GET /metrics`. Nothing in it is a secret; who may ask is the network's business."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        router.add_api_route("/metrics", self.answer, response_class=Response, summary="Figures for Prometheus")
        return router

    async def answer(self) -> Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return Response(generate_latest(self._registry), headers=headers)
