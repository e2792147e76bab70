"""What the processes of one service count, in memory that all of them can read. `authmint_service.endpoints.metrics` serves it.

A request costs a few additions to numbers in memory, and nothing else.
"""

from authmint_service.metrics.gauge import Gauge
from authmint_service.metrics.metrics import METHODS, Metrics
from authmint_service.metrics.sampler import SAMPLE_SECONDS, Sampler
from authmint_service.metrics.shared_counters import MetricFamily, SharedCounters

__all__ = ["METHODS", "SAMPLE_SECONDS", "Gauge", "MetricFamily", "Metrics", "Sampler", "SharedCounters"]
