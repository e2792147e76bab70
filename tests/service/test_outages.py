"""The database becomes unavailable and available again: 503 with Retry-After, never 500, and no restart is needed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.service.conftest import Service, StartService

pytestmark = pytest.mark.anyio

NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


async def requests(service: Service) -> list[tuple[int, bool]]:
    client = {"grant_type": "client_credentials", "client_id": "someone", "client_secret": "x"}
    answers = [await service.token(**client), await service.http.get("/readyz")]
    return [(answer.status_code, "retry-after" in answer.headers) for answer in answers]


async def test_without_a_database_the_service_lives_and_is_not_ready(start_service: StartService) -> None:
    service = await start_service(at=NO_DATABASE)
    assert 200 == (await service.http.get("/livez")).status_code
    assert [(503, True), (503, True)] == await requests(service)


async def test_terminated_connections_are_a_503_at_worst_and_are_replaced(start_service: StartService, dsn: str) -> None:
    service = await start_service()
    user, client = await service.add_account(), await service.add_client()
    token = (await service.sign_in(client, user)).json()["refresh_token"]
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    statuses = []
    for _ in range(10):
        answer = await service.refresh(client, token)
        statuses.append(answer.status_code)
        if answer.status_code == 200:
            break
    assert {200, 503} >= set(statuses)
    assert 200 == statuses[-1]


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port that accepts and never answers."""
    opened: list[asyncio.StreamWriter] = []

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in opened:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_database_that_swallows_everything_is_given_up_after_a_deadline(start_service: StartService) -> None:
    async with black_hole() as port:
        service = await start_service(at=f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable")
        async with asyncio.timeout(30):
            assert [(503, True), (503, True)] == await requests(service)


async def test_a_pool_that_is_used_up_answers_503_and_recovers(start_service: StartService) -> None:
    service = await start_service(database_pool_size=1)
    client = await service.add_client()
    blocker = await start_service()
    async with blocker.database.transaction() as connection:
        await connection.execute("LOCK TABLE authmint.clients IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(service.token(grant_type="password", client_id=client.client_id))
        await asyncio.sleep(0.1)
        refused = await service.token(grant_type="password", client_id="another")
    assert (503, "temporarily_unavailable") == (refused.status_code, refused.json()["error"])
    assert 400 == (await waiting).status_code
    assert 400 == (await service.token(grant_type="password", client_id=client.client_id)).status_code


async def test_a_database_that_takes_no_writes_answers_503(start_service: StartService, dsn: str) -> None:
    service = await start_service()
    user, client = await service.add_account(), await service.add_client()
    name = urlsplit(dsn).path.removeprefix("/")
    await service.database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        async with asyncio.timeout(10):
            fresh = await start_service()
            answer = await fresh.sign_in(client, user)
    finally:
        connection = await asyncpg.connect(dsn)
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await connection.close()
    assert (503, "temporarily_unavailable") == (answer.status_code, answer.json()["error"])
    # A connection that was opened before the server accepted writes again fails in the first request that uses it.
    async with asyncio.timeout(10):
        while 200 != (await fresh.sign_in(client, user)).status_code:
            await asyncio.sleep(0.05)
