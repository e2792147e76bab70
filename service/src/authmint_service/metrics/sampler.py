"""A task that looks ten times a second at what changes by itself: how late the loop is, and how full the pools are."""

import asyncio
from collections.abc import Callable, Mapping

from authmint_service.metrics.metrics import Metrics

EVERY_SECONDS = 0.1

Sources = Mapping[str, Callable[[], float]]


class Sampler:
    """Writes what the parts say of themselves into the figures."""

    def __init__(self, figures: Metrics, *, gauges: Sources, counts: Sources) -> None:
        """By the figure's name. `gauges` say what is; `counts` say how often something happened since the process began."""
        self._figures, self._gauges, self._counts = figures, gauges, counts
        self._seen = dict.fromkeys(counts, 0.0)

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.look()
            due = loop.time() + EVERY_SECONDS
            await asyncio.sleep(EVERY_SECONDS)
            self._figures.lag(max(0.0, loop.time() - due))

    def look(self) -> None:
        """Now."""
        for name, read in self._gauges.items():
            self._figures.set(name, read())
        for name, read in self._counts.items():
            now = read()
            self._figures.add(name, now - self._seen[name])
            self._seen[name] = now
