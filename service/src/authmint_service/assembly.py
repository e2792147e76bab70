"""Makes the applications of the public and the internal listener of features, and opens what they need while they serve."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from authmint_service import __version__, migrations
from authmint_service.database import database_url
from authmint_service.endpoints.cross_origin import CrossOriginMiddleware
from authmint_service.endpoints.docs import add_schemas
from authmint_service.endpoints.head_requests import HeadRequests
from authmint_service.endpoints.issuer_path import IssuerPath
from authmint_service.endpoints.oauth.refresh_cookie import INSECURE_COOKIES_NOTE
from authmint_service.endpoints.requests import RequestMiddleware
from authmint_service.endpoints.responses import install_error_handlers
from authmint_service.endpoints.route_table import RouteTable
from authmint_service.features import Feature, Kernel
from authmint_service.grants import GrantRegistry
from authmint_service.leases import Leases
from authmint_service.one_time_tokens import check_kinds
from authmint_service.tasks import TaskRunner
from authmint_service.trusted_proxies import TrustedProxies

FIRST_ATTEMPT_SECONDS = 10.0
METRICS_NOTE = "Metrics are nowhere: set AUTHMINT_INTERNAL_PORT to serve them on a listener of their own."
PROXIES_NOTE = (
    "AUTHMINT_TRUSTED_PROXIES is not set: behind a reverse proxy, every request has the proxy's address. Set it to the "
    "addresses of the proxies, or to none if clients connect directly."
)
_OPTIONS: dict[str, Any] = {
    "docs_url": None,
    "redoc_url": None,
    # Built of the Host header, and of http behind a proxy that ends TLS: a password would follow it there.
    "redirect_slashes": False,
    # FastAPI's own spans and log records hold paths, queries and the text of errors. Ours are in `tracing`.
    "telemetry": {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
}

log = structlog.get_logger(__name__)


def assemble(
    kernel: Kernel,
    features: Sequence[Feature],
    grants: GrantRegistry,
    *,
    dsn: str | None,
    cookie_origins: Callable[[], Awaitable[frozenset[str]]],
) -> FastAPI:
    """Return the public application; `state.internal` of it is the internal one.

    `dsn`: a database that is open already; `cookie_origins`: returns the origins that may send a refresh cookie.
    """
    settings = kernel.settings
    check_kinds(kind for feature in features for kind in feature.one_time_kinds)
    app = FastAPI(
        title="Authmint token service",
        summary="Signs people and services in, and keeps them signed in.",
        version=__version__,
        openapi_url="/openapi.json" if settings.serves_docs else None,
        lifespan=_Lifespan(kernel, features, dsn).open,
        **_OPTIONS,
    )
    internal = FastAPI(openapi_url=None, **_OPTIONS)
    direct = [router for feature in features for router in feature.direct_routers]
    public = [*direct, *(router for feature in features for router in feature.routers)]
    operators = [router for feature in features for router in feature.internal_routers]
    routes = {*_include(app, public), *_include(internal, operators)}
    add_schemas(app, grants)
    app.add_middleware(RouteTable, routers=direct)
    app.add_middleware(HeadRequests)
    internal.add_middleware(HeadRequests)
    app.add_middleware(CrossOriginMiddleware, allowed_origins=settings.cors_origins, cookie_origins=cookie_origins)
    if kernel.tracing is not None:
        app.add_middleware(kernel.tracing.requests)
    secure, proxies = urlsplit(kernel.issuer).scheme == "https", TrustedProxies(settings.trusted_proxies or ())
    for each in (app, internal):
        each.add_middleware(RequestMiddleware, secure=secure, metrics=kernel.metrics, proxies=proxies)
    path = urlsplit(kernel.issuer).path.rstrip("/")
    # With an issuer such as https://example.com/account, `/account/v1` is a route of ours, and the proxy must strip the path.
    if path and not any(route.startswith(f"{path}/") and "/.well-known/" not in route for route in routes):
        app.add_middleware(IssuerPath, path=path)
    kernel.metrics.allocate(
        routes=["/openapi.json", *routes],
        grants=grants.names,
        rows=settings.max_processes,
        gauges=[gauge for feature in features for gauge in feature.gauges],
    )
    app.state.metrics, app.state.draining, app.state.internal = kernel.metrics, kernel.draining, internal
    app.state.change_feed, app.state.processes = kernel.changes, kernel.processes
    app.state.max_connections = settings.max_connections
    return app


def _include(app: FastAPI, routers: Sequence[APIRouter]) -> list[str]:
    """Include the routers, and return the paths of their routes."""
    for router in routers:
        app.include_router(router)
    install_error_handlers(app, routers)
    return [route.path for router in routers for route in router.routes if isinstance(route, APIRoute)]


class _Lifespan:
    """Opens the database and runs the background tasks while the application serves."""

    def __init__(self, kernel: Kernel, features: Sequence[Feature], dsn: str | None) -> None:
        self._kernel, self._features, self._dsn = kernel, features, dsn

    @asynccontextmanager
    async def open(self, _: FastAPI) -> AsyncIterator[None]:
        settings, tracing = self._kernel.settings, self._kernel.tracing
        if settings.uses_insecure_cookies:
            log.warning("service.started", note=INSECURE_COOKIES_NOTE)
        if settings.internal_port is None and not settings.is_development:
            log.warning("service.started", note=METRICS_NOTE)
        if settings.trusted_proxies is None and not settings.is_development:
            log.warning("service.started", note=PROXIES_NOTE)
        try:
            async with AsyncExitStack() as stack:
                if tracing is not None:
                    await stack.enter_async_context(tracing.running())
                dsn = self._dsn if self._dsn is not None else await stack.enter_async_context(database_url(settings))
                await stack.enter_async_context(self._kernel.database.open(dsn))
                await stack.enter_async_context(self._tasks(dsn))
                yield
        finally:
            for feature in self._features:
                for close in feature.close:
                    close()

    @asynccontextmanager
    async def _tasks(self, dsn: str) -> AsyncIterator[None]:
        kernel, settings = self._kernel, self._kernel.settings
        # In production the operator decides when to migrate: `authmint-service migrate`.
        migrates = settings.uses_embedded_database or settings.is_development
        prepare = (lambda: migrations.migrate_if_behind(kernel.database, dsn)) if migrates else None
        tasks = [task for feature in self._features for task in feature.tasks]
        runner = TaskRunner(tasks, Leases(kernel.database), prepare=prepare)
        async with runner.running():
            # Wait a little, so that what can be ready is ready from the first request on.
            with suppress(TimeoutError):
                await asyncio.wait_for(runner.started.wait(), FIRST_ATTEMPT_SECONDS)
            kernel.metrics.mark_ready()
            yield
        for feature in self._features:
            for stop in feature.at_stop:
                await stop()
