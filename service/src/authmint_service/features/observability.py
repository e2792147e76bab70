"""Metrics for Prometheus. They are on the internal listener; in development without one, on the public one."""

from collections.abc import Sequence

from authmint_service.database import Database
from authmint_service.endpoints.metrics import CounterCollector, MetricsEndpoint
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.metrics import SAMPLE_SECONDS, Gauge, Sampler
from authmint_service.tasks import Task


def observability(kernel: Kernel, *, others: Sequence[Feature]) -> Feature:
    """`others`: the features whose metrics are served."""
    settings = kernel.settings
    gauges = _connections(kernel.database)
    sampler = Sampler(kernel.metrics, (*gauges, *(gauge for feature in others for gauge in feature.gauges)))
    routes = MetricsEndpoint(
        (CounterCollector(kernel.metrics), *(collector for feature in others for collector in feature.collectors)),
        tuple(estimate for feature in others for estimate in feature.estimates),
        sample=sampler.sample,
    ).routes()
    is_public = settings.is_development and settings.internal_port is None
    return Feature(
        name="observability",
        routers=(routes,) if is_public else (),
        internal_routers=(routes,),
        tasks=(Task("sample metrics", SAMPLE_SECONDS, sampler.run, at_start=True, uses_database=False),),
        gauges=gauges,
    )


def _connections(database: Database) -> tuple[Gauge, ...]:
    size, waits = "authmint_database_connections", "authmint_database_connection"
    return (
        Gauge(f"{size}_max", "Most connections to the database", lambda: database.size),
        Gauge(f"{size}_open", "Open connections to the database", lambda: database.open_connections),
        Gauge(f"{size}_idle", "Open connections to the database that are not in use", lambda: database.idle_connections),
        Gauge(f"{waits}_waits", "Statements that waited for a connection", lambda: database.waits, is_count=True),
        Gauge(f"{waits}_timeouts", "Statements that got no connection in time", lambda: database.wait_timeouts, is_count=True),
    )
