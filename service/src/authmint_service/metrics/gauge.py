"""A metric that a part of the service knows, and that is sampled."""

from collections.abc import Callable
from dataclasses import dataclass

from authmint_service.metrics.shared_counters import MetricFamily


@dataclass(frozen=True, slots=True)
class Gauge:
    """The state of one part as a number."""

    name: str
    """Without the `_total` that Prometheus adds to counts."""
    help: str
    read: Callable[[], float]
    """Returns the present value; it is called ten times a second, so it must be cheap."""
    is_count: bool = False
    """Whether `read` returns a number since the process began, which only grows."""

    @property
    def family(self) -> MetricFamily:
        return MetricFamily(self.name, self.help, "counter" if self.is_count else "gauge")
