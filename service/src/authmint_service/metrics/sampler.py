"""Samples ten times a second what changes by itself: how late the event loop is, and how full the pools are."""

import asyncio
from collections.abc import Sequence

from authmint_service.metrics.gauge import Gauge
from authmint_service.metrics.metrics import Metrics

SAMPLE_SECONDS = 0.1


class Sampler:
    """Writes the state of other parts into the metrics."""

    def __init__(self, metrics: Metrics, gauges: Sequence[Gauge]) -> None:
        self._metrics, self._gauges = metrics, gauges
        self._due_at: float | None = None
        self._seen = {gauge.name: 0.0 for gauge in gauges if gauge.is_count}

    async def run(self) -> None:
        """Sample once, and record how much later than SAMPLE_SECONDS after the last time this is."""
        now = asyncio.get_running_loop().time
        if self._due_at is not None:
            self._metrics.observe_lag(max(0.0, now() - self._due_at))
        self.sample()
        self._due_at = now() + SAMPLE_SECONDS

    def sample(self) -> None:
        """Bring all of them up to date once."""
        for gauge in self._gauges:
            value = gauge.read()
            if gauge.is_count:
                self._metrics.add(gauge.name, value - self._seen[gauge.name])
                self._seen[gauge.name] = value
            else:
                self._metrics.set(gauge.name, value)
