"""The smallest whole feature: a route, a table, an event, a delivery and a task. One argument at the root registers it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

import asyncpg
import httpx2
import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from authmint_service.app import create_app
from authmint_service.database import to_datetime
from authmint_service.deliveries import Delivery
from authmint_service.endpoints.requests import request_source
from authmint_service.events import Event
from authmint_service.features import Feature, Kernel
from authmint_service.metrics import Gauge
from authmint_service.readiness import CheckResult
from authmint_service.request_source import Actor, RequestSource
from authmint_service.tasks import Task
from tests.service.conftest import Clock, make_first_key, make_settings, migrated_database, open_http

pytestmark = [pytest.mark.anyio, pytest.mark.database]

TABLE = "CREATE TABLE authmint.notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, read_at timestamptz)"
WRITE = """
    WITH written AS (INSERT INTO authmint.notes DEFAULT VALUES RETURNING id),
         event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                personal, salt, personal_digest, occurred_at)
                   SELECT $1, $2, $3, $4, $5, $6, $7::jsonb || jsonb_build_object('note', id), $8, $9, $10, $11 FROM written
                   RETURNING id),
         delivery AS (INSERT INTO authmint.deliveries (event_id, kind, target, due_at)
                      SELECT event.id, $12, $13, $14 FROM event)
    SELECT id FROM written
"""
READ = "UPDATE authmint.notes SET read_at = clock_timestamp() WHERE read_at IS NULL"
ACTOR = Actor(kind="client", id="a-client")


class NoteEvent(StrEnum):
    """The feature's own kinds of events."""

    WRITTEN = "note.written"


class Notes:
    """What would lie in the layers below: a store, an endpoint, a handler and a task."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.sent: list[Delivery] = []

    async def add(self, source: RequestSource) -> int:
        now = self._kernel.database_clock()
        event = Event(kind=NoteEvent.WRITTEN, actor=ACTOR, source=source)
        values = *event.values(now), "note", "the reader", to_datetime(now)
        return int(await self._kernel.database.fetch_value(WRITE, *values))

    async def post(self, request: Request) -> JSONResponse:
        return JSONResponse({"id": await self.add(request_source(request))}, 201)

    async def send(self, delivery: Delivery) -> None:
        self.sent.append(delivery)

    async def read(self) -> None:
        await self._kernel.database.execute(READ)


def notes(kernel: Kernel) -> Feature:
    parts, router = Notes(kernel), APIRouter(tags=["notes"])
    router.add_api_route("/notes", parts.post, methods=["POST"], operation_id="addNote", response_model=None)
    return Feature(
        name="notes",
        routers=(router,),
        metadata={"notes_uri": f"{kernel.issuer}/notes"},
        deliveries={"note": parts.send},
        tasks=(Task("read notes", 0.02, parts.read),),
        gauges=(Gauge("authmint_notes_sent", "Notes that were sent", lambda: len(parts.sent), is_count=True),),
        readiness={"notes": lambda: CheckResult(message="They can be read.")},
    )


@asynccontextmanager
async def served(server_dsn: str) -> AsyncIterator[tuple[httpx2.AsyncClient, httpx2.AsyncClient, asyncpg.Connection]]:
    """The service with the feature: its public and its internal listener, and a connection to its database."""
    async with migrated_database(server_dsn) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute(TABLE)
        await make_first_key(dsn)
        clock = Clock()
        app = create_app(make_settings(dsn), clock=clock, database_time=clock.ask, more_features=[notes])
        async with app.router.lifespan_context(app), open_http(app) as http, open_http(app.state.internal) as internal:
            yield http, internal, connection
        await connection.close()


async def test_a_feature_that_one_argument_registers_has_its_route_table_event_delivery_task_and_gauge(
    server_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.features.deliveries.POLL_SECONDS", 0.02)
    async with served(server_dsn) as (http, internal, connection):
        answer = await http.post("/notes", headers={"User-Agent": "a browser"})
        assert (201, {"id": 1}) == (answer.status_code, answer.json())
        event = await connection.fetchrow("SELECT * FROM authmint.events WHERE kind = 'note.written'")
        assert event is not None
        assert ("client", "a-client", answer.headers["x-request-id"]) == tuple(
            event[name] for name in ("actor_kind", "actor_id", "request_id")
        )
        assert "a browser" in event["personal"]
        async with asyncio.timeout(20):
            while await connection.fetchval("SELECT count(*) FROM authmint.notes WHERE read_at IS NULL"):
                await asyncio.sleep(0.01)
            while "authmint_notes_sent_total 1.0" not in (await internal.get("/metrics")).text:
                await asyncio.sleep(0.01)
            # The row goes after the handler has returned.
            while await connection.fetchval("SELECT count(*) FROM authmint.deliveries"):
                await asyncio.sleep(0.01)
        document = (await http.get("/openapi.json")).json()
        assert "addNote" == document["paths"]["/notes"]["post"]["operationId"]
        assert "/notes" in (await http.get("/.well-known/oauth-authorization-server")).json()["notes_uri"]
        assert "They can be read." == (await http.get("/readyz")).json()["checks"]["notes"]["message"]
        assert 'route="/notes"' in (await internal.get("/metrics")).text


async def test_without_it_the_service_has_none_of_that(dsn: str) -> None:
    app = create_app(make_settings(dsn))
    assert "/notes" not in app.openapi()["paths"]
    assert "authmint_notes_sent" not in app.state.metrics.counters.families
