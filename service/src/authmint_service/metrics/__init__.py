"""What the processes of one service count, where all of them can read it. `authmint_service.endpoints.metrics` tells it.

On the way of a request there are plain additions to numbers in memory, and nothing else.
"""

from authmint_service.metrics.metrics import METHODS, Metrics
from authmint_service.metrics.sampler import Sampler
from authmint_service.metrics.shared_counters import MetricFamily, SharedCounters

__all__ = ["METHODS", "MetricFamily", "Metrics", "Sampler", "SharedCounters"]
