"""Traces for OpenTelemetry: a span for each request, statement and hash. Imported only when AUTHMINT_OTLP_ENDPOINT is set.

A span names what was done, and holds no value: no path, no parameter, no text of an error. The packages that instrument by
themselves record these, and are betas; see docs/decisions/0008.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import cache
from typing import Any

import asyncpg
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authmint_service.database import Connection, Database
from authmint_service.metrics import METHODS
from authmint_service.passwords.hasher import PasswordHasher, Verdict
from authmint_service.request_log import current_record

EXPORT_SECONDS = 3
_VERB = re.compile(r"\b(INSERT)\s+INTO\s+(\w+)|(?<!FOR )\b(UPDATE)\s+(\w+)|\b(DELETE)\s+FROM\s+(\w+)")
_SELECT = re.compile(r"\bFROM\s+(\w+)")
_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Drops spans until `running`, which starts a thread, and so must begin in the process that serves."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: the URL of a collector for OTLP over HTTP, without `/v1/traces`."""
        self._endpoint = endpoint.rstrip("/")
        self._tracer: trace.Tracer = trace.NoOpTracer()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send spans inside the block, and the rest of them at its end."""
        resource = Resource({SERVICE_NAME: "authmint-service"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{self._endpoint}/v1/traces", timeout=EXPORT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = provider.get_tracer("authmint_service")
        try:
            yield
        finally:
            await asyncio.to_thread(provider.shutdown)

    @contextmanager
    def span(
        self, name: str, kind: trace.SpanKind, attributes: Mapping[str, str], context: Context | None = None
    ) -> Iterator[trace.Span]:
        """Open a span. Of an error it records the type alone."""
        with self._tracer.start_as_current_span(
            name, context, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    def requests(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` in a middleware."""
        return _TracedRequests(app, self)

    def database(self, *, size: int, statement_cache: int) -> Database:
        return _TracedDatabase(self, size=size, statement_cache=statement_cache)

    def hasher(self, *, workers: int, queue: int) -> PasswordHasher:
        return _TracedHasher(self, workers=workers, queue=queue)


class _TracedRequests:
    """Opens a span for each request, a child of the caller's if it sends one (W3C Trace Context). Plain ASGI."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app, self._tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        status = 0

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracing.span(method, trace.SpanKind.SERVER, attributes, _propagator.extract(carrier)) as span:
            current_record().add(trace_id=trace.format_trace_id(span.get_span_context().trace_id))
            try:
                await self._app(scope, receive, send_and_note_status)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(trace.StatusCode.ERROR)


class _TracedDatabase(Database):
    def __init__(self, tracing: Tracing, *, size: int, statement_cache: int) -> None:
        super().__init__(size=size, statement_cache=statement_cache)
        self._tracing = tracing

    async def fetch_row(self, statement: str, *values: object) -> asyncpg.Record | None:
        with self._span(_summary(statement)):
            return await super().fetch_row(statement, *values)

    async def fetch_all(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        with self._span(_summary(statement)):
            return await super().fetch_all(statement, *values)

    async def fetch_value(self, statement: str, *values: object) -> Any:
        with self._span(_summary(statement)):
            return await super().fetch_value(statement, *values)

    async def execute(self, statement: str, *values: object) -> None:
        with self._span(_summary(statement)):
            await super().execute(statement, *values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        with self._span("transaction"):
            async with super().transaction() as connection:
                yield connection

    def _span(self, summary: str) -> AbstractContextManager[trace.Span]:
        attributes = {"db.system.name": "postgresql", "db.query.summary": summary}
        return self._tracing.span(summary, trace.SpanKind.CLIENT, attributes)


class _TracedHasher(PasswordHasher):
    """Opens a span for each hash; it includes the time in the queue."""

    def __init__(self, tracing: Tracing, *, workers: int, queue: int) -> None:
        super().__init__(workers=workers, queue=queue)
        self._tracing = tracing

    async def hash(self, password: str) -> str:
        with self._tracing.span("password.hash", trace.SpanKind.INTERNAL, {}):
            return await super().hash(password)

    async def verify(self, password: str, known: str | None) -> Verdict:
        with self._tracing.span("password.verify", trace.SpanKind.INTERNAL, {}):
            return await super().verify(password, known)


@cache
def _summary(statement: str) -> str:
    """Return the verb and the table, without a schema. Statements are literals, so the cache is as large as they are many."""
    if found := _VERB.search(statement):
        verb, table = (part for part in found.groups() if part)
        return f"{verb} {table}"
    return f"SELECT {found[1]}" if (found := _SELECT.search(statement)) else "SELECT"
