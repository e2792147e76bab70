"""Samples ten times a second what changes by itself: how late the event loop is, and how full the pools are."""

import asyncio
from collections.abc import Callable, Mapping

from authmint_service.metrics.metrics import Metrics

SAMPLE_SECONDS = 0.1

Sources = Mapping[str, Callable[[], float]]


class Sampler:
    """Writes the state of other parts into the metrics."""

    def __init__(self, metrics: Metrics, *, gauges: Sources, counts: Sources) -> None:
        """Both by the name of the metric. `gauges` return a present value, `counts` a number since the process began."""
        self._metrics, self._gauges, self._counts = metrics, gauges, counts
        self._seen = dict.fromkeys(counts, 0.0)
        self._due_at: float | None = None

    async def run(self) -> None:
        """Sample once, and record how much later than SAMPLE_SECONDS after the last time this is."""
        now = asyncio.get_running_loop().time
        if self._due_at is not None:
            self._metrics.observe_lag(max(0.0, now() - self._due_at))
        self.sample()
        self._due_at = now() + SAMPLE_SECONDS

    def sample(self) -> None:
        """Bring all of them up to date once."""
        for name, read in self._gauges.items():
            self._metrics.set(name, read())
        for name, read in self._counts.items():
            now = read()
            self._metrics.add(name, now - self._seen[name])
            self._seen[name] = now
