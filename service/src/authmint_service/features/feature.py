"""What a feature brings to the service."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from prometheus_client.registry import Collector

from authmint_service.deliveries import DeliveryHandler
from authmint_service.endpoints.metrics import Estimate
from authmint_service.metrics import Gauge
from authmint_service.one_time_tokens import Kind
from authmint_service.readiness import CheckResult
from authmint_service.retention import Retention
from authmint_service.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Everything that the composition root must know of one feature. What is left out, the feature does not have."""

    name: str
    routers: tuple[APIRouter, ...] = ()
    """Routes of the public listener."""
    direct_routers: tuple[APIRouter, ...] = ()
    """Routes of the public listener that `RouteTable` calls without FastAPI's work for each request."""
    internal_routers: tuple[APIRouter, ...] = ()
    """Routes of the internal listener."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Members of the server's metadata (RFC 8414)."""
    tasks: tuple[Task, ...] = ()
    """What each process does in the background."""
    retention: tuple[Retention, ...] = ()
    """The ages at which rows of tables that the feature alone knows are deleted."""
    one_time_kinds: tuple[Kind, ...] = ()
    """What its links and codes open. A name is one feature's alone."""
    gauges: tuple[Gauge, ...] = ()
    """Metrics that the feature's parts know and that are sampled."""
    collectors: tuple[Collector, ...] = ()
    """Metrics that are made for each scrape."""
    estimates: tuple[Estimate, ...] = ()
    """Metrics that the database is asked for, for each scrape."""
    deliveries: Mapping[str, DeliveryHandler] = field(default_factory=dict)
    """What sends the feature's deliveries, by kind."""
    readiness: Mapping[str, Callable[[], CheckResult]] = field(default_factory=dict)
    """Checks of `/readyz`, by the name of the part."""
    at_stop: tuple[Callable[[], Awaitable[object]], ...] = ()
    """What is done when the tasks have ended, while the database is still open. It waits for a second at most."""
    close: tuple[Callable[[], None], ...] = ()
    """What is called when the process stops serving."""
