"""The composition root: the one place where settings, stores, grants and endpoints are put together.

Everything is made here and opened in the lifespan. Nothing waits for the database: without it the service starts, says at
`/readyz` that it is not ready, and becomes ready when the database is available.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from authmint import ResourceServer
from authmint_service import __version__, migrations, tasks
from authmint_service.accounts import AccountStore
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.clients import ClientCache, ClientStore
from authmint_service.database import Database, database_url
from authmint_service.database_clock import DatabaseClock
from authmint_service.draining import Draining
from authmint_service.endpoints.account.password import PasswordEndpoint
from authmint_service.endpoints.account.profile import ProfileEndpoint
from authmint_service.endpoints.account.sessions import MySessionsEndpoints
from authmint_service.endpoints.admin.sessions import AccountSessionsEndpoints
from authmint_service.endpoints.cross_origin import CrossOriginMiddleware
from authmint_service.endpoints.docs import DocsEndpoints, add_schemas
from authmint_service.endpoints.health import HealthEndpoints
from authmint_service.endpoints.metrics import METRICS, CounterCollector, KeyCollector, MetricsEndpoint
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.introspection import IntrospectionEndpoint
from authmint_service.endpoints.oauth.metadata import MetadataEndpoints
from authmint_service.endpoints.oauth.refresh_cookie import INSECURE_COOKIES_NOTE, RefreshCookies
from authmint_service.endpoints.oauth.revocation import RevocationEndpoint
from authmint_service.endpoints.oauth.revocation_list import RevocationListEndpoint
from authmint_service.endpoints.oauth.token import TokenEndpoint
from authmint_service.endpoints.requests import RequestMiddleware, record_verification_event
from authmint_service.endpoints.responses import install_error_handlers
from authmint_service.endpoints.route_table import RouteTable
from authmint_service.errors import SettingsError
from authmint_service.grants import ClientCredentialsGrant, Grant, PasswordGrant, RefreshTokenGrant
from authmint_service.leases import Leases
from authmint_service.logs import configure_logging
from authmint_service.metrics import SAMPLE_SECONDS, Metrics, Sampler
from authmint_service.passwords import CONTEXT_WORDS, PasswordChange, PasswordHasher, PasswordPolicy, PasswordStore
from authmint_service.readiness import Readiness
from authmint_service.retention import retention_task
from authmint_service.revocations import RevocationStore
from authmint_service.sessions import RefreshTokenCodec, SessionLifetimes, Sessions, SessionStore, pruning_task
from authmint_service.settings import Settings, load_settings
from authmint_service.signing_keys import (
    KeyRing,
    KeyRotation,
    RotatingKeyRing,
    RotationPolicy,
    SharedSecretKeyRing,
    SigningKeyStore,
)
from authmint_service.tasks import Task, TaskRunner
from authmint_service.tokens import AccessTokenReader, RevocationListPublisher, TokenIssuer

if TYPE_CHECKING:
    from authmint_service.tracing import Tracing

FIRST_ATTEMPT_SECONDS = 10.0
KEY_POLL_SECONDS = 3.0
"""How soon a process sees what another process, or a command, has changed of the keys."""

log = structlog.get_logger(__name__)


def create_app(
    settings: Settings | None = None,
    *,
    dsn: str | None = None,
    clock: Callable[[], float] = time.time,
    database_time: Callable[[], Awaitable[float]] | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The token service. Raises SettingsError.

    `settings`: from the environment when None; `dsn`: a database that is open already; `clock`: seconds since the epoch;
    `database_time`: instead of the database's own, for tests in which time passes quickly; `metrics`: of an application before
    this one, to count on in. They are at `app.state.metrics`.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format)
    return Application(settings, dsn, clock, database_time).app(metrics)


class Application:
    """The parts of one service, in the order of their layers."""

    def __init__(
        self,
        settings: Settings,
        dsn: str | None,
        clock: Callable[[], float],
        database_time: Callable[[], Awaitable[float]] | None,
    ) -> None:
        self._settings, self._dsn, self._clock = settings, dsn, clock
        self._issuer = settings.issuer_url
        self._tracing = _tracing(settings)
        parts = (Database, PasswordHasher) if self._tracing is None else (self._tracing.database, self._tracing.hasher)
        make_database, make_hasher = parts
        self._database = make_database(size=settings.database_pool_size, statement_cache=settings.database_statement_cache)
        self._draining = Draining()
        self._keys = SigningKeyStore(self._database, settings.encryption_keys)
        self._time = DatabaseClock(clock, database_time) if database_time else DatabaseClock.of(self._database, clock)
        self._policy = RotationPolicy(
            algorithm=settings.signing_algorithm,
            period=settings.signing_key_rotation_seconds,
            token_lifetime=settings.access_token_ttl,
            rsa_bits=settings.signing_rsa_bits,
        )
        self._ring, self._check_keys_and_clock = self._key_ring()
        self._accounts, self._passwords = AccountStore(self._database), PasswordStore(self._database)
        lifetimes = SessionLifetimes(
            grace=settings.refresh_grace_seconds, idle=settings.session_idle_ttl, absolute=settings.session_ttl
        )
        self._session_store = SessionStore(self._database, lifetimes)
        self._hasher = make_hasher(workers=settings.password_hash_slots, queue=settings.password_hash_queue)
        self._clients = ClientCache(ClientStore(self._database), clock)

    def app(self, metrics: Metrics | None) -> FastAPI:
        app = self._bare_app()
        app.state.draining = self._draining
        sessions = self._sessions()
        grants = self._grants(sessions)
        issuer, token_url = self._issuer, f"{self._issuer.rstrip('/')}/token"
        auth = ResourceServer(
            issuer=issuer, audience=issuer, key_set=self._ring, token_url=token_url, clock=self._clock,
            observer=record_verification_event,
        )  # fmt: skip
        lifetime = self._settings.access_token_ttl
        tokens = TokenIssuer(self._ring, issuer=self._issuer, lifetime=lifetime, clock=self._clock)
        reader = AccessTokenReader(self._ring, issuer=self._issuer, clock=self._clock)
        revocations = RevocationStore(self._database)
        lists = RevocationListPublisher(revocations, self._ring, issuer=self._issuer, lifetime=lifetime, clock=self._clock)
        clients = ClientAuthentication(self._clients)
        cookies = RefreshCookies(idle_ttl=self._settings.session_idle_ttl, insecure=self._settings.uses_insecure_cookies)
        direct = (
            TokenEndpoint(grants, clients, cookies, self._ring, tokens).routes(),
            RevocationEndpoint(clients, cookies, sessions, reader).routes(),
            IntrospectionEndpoint(clients, sessions, reader, lists).routes(),
            MetadataEndpoints(self._issuer, grants.keys(), self._ring).routes(),
        )
        routers = [
            *direct,
            ProfileEndpoint(self._accounts, auth).routes(),
            MySessionsEndpoints(sessions, clients, cookies, auth).routes(),
            PasswordEndpoint(sessions, self._password_change(), auth).routes(),
            AccountSessionsEndpoints(sessions, auth).routes(),
            RevocationListEndpoint(lists, self._draining).routes(),
            HealthEndpoints(self._readiness()).routes(),
        ]
        if self._settings.docs:
            routers.append(DocsEndpoints(self._issuer, self._settings.docs_client_id).routes())
        paths = [route.path for router in routers for route in router.routes if isinstance(route, APIRoute)]
        self._metrics = metrics or Metrics(
            routes=[METRICS, "/openapi.json", *paths], grants=grants, rows=self._settings.max_processes
        )
        self._sampler = self._make_sampler()
        keys = KeyCollector(self._ring, self._policy, self._time)
        metrics_endpoint = MetricsEndpoint(
            CounterCollector(self._metrics.counters), keys, sample=self._sampler.sample, estimate=self._session_store.estimate
        )
        routers.append(metrics_endpoint.routes())
        for router in routers:
            app.include_router(router)
        app.state.metrics = self._metrics
        install_error_handlers(app, routers)
        add_schemas(app)
        self._add_middleware(app, direct)
        return app

    def _bare_app(self) -> FastAPI:
        return FastAPI(
            title="Authmint token service",
            summary="Signs people and services in, and keeps them signed in.",
            version=__version__,
            openapi_url="/openapi.json" if self._settings.docs else None,
            docs_url=None,
            redoc_url=None,
            lifespan=self._lifespan,
            # Built of the Host header, and of http behind a proxy that ends TLS: a password would follow it there.
            redirect_slashes=False,
            # FastAPI's own spans and log records hold paths, queries and the text of errors. Ours are in `tracing`.
            telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
        )

    def _sessions(self) -> Sessions:
        refresh_keys = self._settings.refresh_keys
        codec = RefreshTokenCodec(refresh_keys, current_id=refresh_keys.current_id)
        return Sessions(self._session_store, codec, self._clock, self._count_session_event)

    def _count_session_event(self, event: str, count: int) -> None:
        # The metrics need the routes, so they are made after the sessions.
        self._metrics.count_session_event(event, count)

    def _readiness(self) -> Readiness:
        return Readiness(self._database, self._draining, lambda: self._ring.problem, self._time)

    def _password_change(self) -> PasswordChange:
        rules = PasswordPolicy(min_length=self._settings.password_min_length, context_words=CONTEXT_WORDS)
        return PasswordChange(self._passwords, self._hasher, rules, self._clock)

    def _grants(self, sessions: Sessions) -> dict[str, Grant]:
        authenticator = PasswordAuthenticator(self._accounts, self._passwords, self._hasher)
        grants = (PasswordGrant(authenticator, sessions), RefreshTokenGrant(sessions), ClientCredentialsGrant())
        return {grant.name: grant for grant in grants}

    def _add_middleware(self, app: FastAPI, direct: Sequence[APIRouter]) -> None:
        app.add_middleware(RouteTable, routers=direct)
        listed, cookie_origins = self._settings.cors_origins, self._clients.cookie_origins
        app.add_middleware(CrossOriginMiddleware, allowed_origins=listed, cookie_origins=cookie_origins)
        if self._tracing is not None:
            app.add_middleware(self._tracing.requests)
        app.add_middleware(RequestMiddleware, secure=urlsplit(self._issuer).scheme == "https", metrics=self._metrics)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        if self._settings.uses_insecure_cookies:
            log.warning("service.started", note=INSECURE_COOKIES_NOTE)
        try:
            async with AsyncExitStack() as stack:
                if self._tracing is not None:
                    await stack.enter_async_context(self._tracing.running())
                dsn = self._dsn if self._dsn is not None else await stack.enter_async_context(database_url(self._settings))
                await stack.enter_async_context(self._serving(dsn))
                yield
        finally:
            self._hasher.close()

    @asynccontextmanager
    async def _serving(self, dsn: str) -> AsyncIterator[None]:
        async with self._database.open(dsn):
            runner = self._task_runner(dsn)
            async with runner.running():
                # Wait a little, so that what can be ready is ready from the first request on.
                with suppress(TimeoutError):
                    await asyncio.wait_for(runner.started.wait(), FIRST_ATTEMPT_SECONDS)
                self._metrics.mark_ready()
                yield

    def _task_runner(self, dsn: str) -> TaskRunner:
        # In production the operator decides when to migrate: `authmint-service migrate`.
        migrates = self._settings.uses_embedded_database or self._settings.is_development
        prepare = (lambda: migrations.migrate_if_behind(self._database, dsn)) if migrates else None
        background = (
            Task("check clock and signing keys", tasks.POLL_SECONDS, self._check_keys_and_clock, at_start=True),
            Task("sample metrics", SAMPLE_SECONDS, self._sampler.run, at_start=True, uses_database=False),
            pruning_task(self._session_store, self._clock),
            retention_task(self._database),
        )
        return TaskRunner(background, Leases(self._database), prepare=prepare)

    def _key_ring(self) -> tuple[KeyRing, Callable[[], Awaitable[object]]]:
        """Return the key ring, and the check that keeps the ring and the clock up to date."""
        secret = self._settings.hmac_secret
        if secret is not None:
            return SharedSecretKeyRing(secret), self._time.compare
        ring = RotatingKeyRing(self._time)
        return ring, KeyRotation(self._keys, ring, self._policy, ask_time=self._time.compare).check

    def _make_sampler(self) -> Sampler:
        database, hasher = self._database, self._hasher
        return Sampler(
            self._metrics,
            gauges={
                "authmint_password_hash_slots": lambda: hasher.slots,
                "authmint_password_hashes_running": lambda: hasher.running,
                "authmint_password_hashes_queued": lambda: hasher.queued,
                "authmint_database_connections_max": lambda: database.size,
                "authmint_database_connections_open": lambda: database.open_connections,
                "authmint_database_connections_idle": lambda: database.idle_connections,
            },
            counts={
                "authmint_password_hashes_refused": lambda: hasher.refused,
                "authmint_database_connection_waits": lambda: database.waits,
                "authmint_database_connection_timeouts": lambda: database.wait_timeouts,
            },
        )


def _tracing(settings: Settings) -> "Tracing | None":
    """Import OpenTelemetry only when an endpoint is configured."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from authmint_service.tracing import Tracing
    except ImportError as error:
        raise SettingsError("AUTHMINT_OTLP_ENDPOINT needs more: install authmint-service[opentelemetry].") from error
    return Tracing(settings.otlp_endpoint)
