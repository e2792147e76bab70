"""Clients that sign in and are gone before the answer: the hash goes on, and so does its permit (T-16)."""

import asyncio
import json
import random
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
import uvicorn
from fastapi import FastAPI

from authmint_service.serving.limited_http import LimitedHTTPProtocol
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.counting_hasher import HashMeter
from tests.service.test_metrics import figure, metrics

pytestmark = pytest.mark.anyio

PERMITS, QUEUE = 2, 16
CLIENTS = 16
LONGEST_SECONDS = 0.1
"""That a client waits. A full queue takes longer."""
PAUSE_SECONDS = 0.25
"""Of whoever was refused in time: the hashes, which stand back, would not come to their turn otherwise."""


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The port at which the application is served until the end of the block, by what production is served by."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, http=LimitedHTTPProtocol, lifespan="off", log_config=None, access_log=False)
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@dataclass
class Crowd:
    """Clients that send a whole sign-in, wait for a moment, and go: half of them with a FIN, half with a RST."""

    port: int
    request: bytes
    statuses: Counter[str] = field(default_factory=Counter)
    """Of the answers that came in time; `gone`: of those who did not wait for theirs."""
    is_over: bool = False

    async def come_and_go(self) -> None:
        while not self.is_over:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self.request)
            try:
                async with asyncio.timeout(random.uniform(0, LONGEST_SECONDS)):
                    status = (await reader.readexactly(len("HTTP/1.1 200")))[-3:].decode()
            except TimeoutError:
                status = "gone"
            self.statuses[status] += 1
            if status == "503":
                await asyncio.sleep(PAUSE_SECONDS)
            if random.random() < 0.5:
                writer.transport.abort()
            writer.close()


async def give_up(service: Service, meter: HashMeter, count: int) -> None:
    """Until `count` hashes were computed for somebody who had gone."""
    user, client = await service.add_user(), await service.add_client()
    form = {"grant_type": "password", "client_id": client.client_id, "username": user.username, "password": PASSWORD}
    body = urlencode(form)
    head = f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
    most_in_flight = most_waiting = signed_in = 0.0
    async with listening(service.app) as port:
        crowd = Crowd(port, f"{head}\r\n\r\n{body}".encode())
        clients = [asyncio.create_task(crowd.come_and_go()) for _ in range(CLIENTS)]
        while signed_in - crowd.statuses["200"] < count:
            await asyncio.sleep(0.05)
            told = await metrics(service)
            most_in_flight = max(most_in_flight, figure(told, "authmint_password_hashes_running"))
            most_waiting = max(most_waiting, figure(told, "authmint_password_hashes_queued"))
            signed_in = figure(told, 'authmint_http_requests_total{method="POST",route="/token",status="200"}')
        crowd.is_over = True
        await asyncio.gather(*clients)
    # The server has waited for whoever was left in the queue: they are signed in as well, as nobody knows that they have gone.
    told = await metrics(service)
    refused = figure(told, "authmint_password_hashes_refused_total")
    figures = {
        "given_up": crowd.statuses["gone"], "answered": {k: v for k, v in crowd.statuses.items() if k != "gone"},
        "hashes": len(meter.costs), "hashes_for_nobody": len(meter.costs) - crowd.statuses["200"], "refused": round(refused),
        "permits": PERMITS, "most_hashes_at_once": meter.most, "most_in_flight": round(most_in_flight),
        "queue": QUEUE, "most_waiting": round(most_waiting),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    assert PERMITS == meter.most == most_in_flight
    assert 0 < most_waiting <= QUEUE
    assert {"200", "503", "gone"} >= set(crowd.statuses)
    assert refused > 0
    # One hash for each that was let in, to its end, and every place is free again.
    assert len(meter.costs) == figure(told, 'authmint_http_requests_total{method="POST",route="/token",status="200"}')
    answers = await asyncio.gather(*(service.sign_in(client, user) for _ in range(PERMITS + QUEUE)))
    assert {200} == {answer.status_code for answer in answers}


@pytest.mark.slow
async def test_clients_that_give_up_their_sign_in_bring_no_more_hashes_at_a_time_than_there_are_permits(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(password_hash_workers=PERMITS, password_hash_queue=QUEUE, log_level="WARNING")
    await give_up(service, HashMeter(monkeypatch), 40)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_ten_thousand_who_give_up_their_sign_in_bring_no_more_hashes_at_a_time_than_there_are_permits(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(password_hash_workers=PERMITS, password_hash_queue=QUEUE, log_level="WARNING")
    await give_up(service, HashMeter(monkeypatch), 10_000)
