"""Probes: whether the process runs, and whether it can serve. On both listeners."""

from collections.abc import Sequence

from authmint_service.endpoints.health import HealthEndpoints
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.readiness import Readiness


def health(kernel: Kernel, *, others: Sequence[Feature]) -> Feature:
    """`others`: the features whose checks are part of `/readyz`."""
    checks = {name: check for feature in others for name, check in feature.readiness.items()}
    readiness = Readiness(
        kernel.database,
        kernel.draining,
        kernel.database_clock,
        checks,
        has_write_failed=lambda: kernel.processes.has_write_failed,
    )
    routes = HealthEndpoints(readiness).routes()
    return Feature(name="health", routers=(routes,), internal_routers=(routes,))
