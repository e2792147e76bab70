"""Clients that disconnect before the response to their sign-in: the hash goes on, and keeps its slot (T-16)."""

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
from tests.service.test_metrics import metrics, sample

pytestmark = pytest.mark.anyio

SLOTS, QUEUE = 2, 16
CLIENTS = 16
MAX_WAIT_SECONDS = 0.1
"""The most that a client waits. A full queue takes longer."""
PAUSE_SECONDS = 0.25
"""After a response 503: the hashes have a low priority, and would not be computed otherwise."""


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """Serve the application with the protocol of production until the end of the block. Yield the port."""
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
class ImpatientClients:
    """Clients that send a whole sign-in, wait a little, and disconnect: half of them with a FIN, half with a RST."""

    port: int
    request: bytes
    statuses: Counter[str] = field(default_factory=Counter)
    """Of the responses that came in time; `disconnected`: those that did not."""
    is_stopped: bool = False

    async def run(self) -> None:
        while not self.is_stopped:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self.request)
            try:
                async with asyncio.timeout(random.uniform(0, MAX_WAIT_SECONDS)):
                    status = (await reader.readexactly(len("HTTP/1.1 200")))[-3:].decode()
            except TimeoutError:
                status = "disconnected"
            self.statuses[status] += 1
            if status == "503":
                await asyncio.sleep(PAUSE_SECONDS)
            if random.random() < 0.5:
                writer.transport.abort()
            writer.close()


async def abandon(service: Service, meter: HashMeter, count: int) -> None:
    """Run until `count` hashes were computed for clients that had disconnected."""
    user, client = await service.add_account(), await service.add_client()
    form = {"grant_type": "password", "client_id": client.client_id, "username": user.username, "password": PASSWORD}
    body = urlencode(form)
    head = f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
    max_running = max_queued = signed_in = 0.0
    async with listening(service.app) as port:
        load = ImpatientClients(port, f"{head}\r\n\r\n{body}".encode())
        clients = [asyncio.create_task(load.run()) for _ in range(CLIENTS)]
        while signed_in - load.statuses["200"] < count:
            await asyncio.sleep(0.05)
            text = await metrics(service)
            max_running = max(max_running, sample(text, "authmint_password_hashes_running"))
            max_queued = max(max_queued, sample(text, "authmint_password_hashes_queued"))
            signed_in = sample(text, 'authmint_http_requests_total{method="POST",route="/token",status="200"}')
        load.is_stopped = True
        await asyncio.gather(*clients)
    # The server has computed the rest of the queue as well, as it does not know that those clients have disconnected.
    text = await metrics(service)
    refused = sample(text, "authmint_password_hashes_refused_total")
    numbers = {
        "abandoned": load.statuses["disconnected"],
        "served": {status: count for status, count in load.statuses.items() if status != "disconnected"},
        "hashes": len(meter.costs), "hashes_without_a_client": len(meter.costs) - load.statuses["200"],
        "refused": round(refused),
        "slots": SLOTS, "max_hashes_at_once": meter.most, "max_running": round(max_running),
        "queue": QUEUE, "max_queued": round(max_queued),
    }  # fmt: skip
    sys.stdout.write(json.dumps(numbers) + "\n")
    assert SLOTS == meter.most == max_running
    assert 0 < max_queued <= QUEUE
    assert {"200", "503", "disconnected"} >= set(load.statuses)
    assert refused > 0
    # One whole hash for each sign-in that was accepted, and every slot is free again. On a slow computer the database may
    # answer too late, before or after a hash: such a 503 was not refused by the queue.
    signed_in, unavailable = (
        sample(text, f'authmint_http_requests_total{{method="POST",route="/token",status="{status}"}}') for status in (200, 503)
    )
    assert signed_in <= len(meter.costs) <= signed_in + unavailable - refused
    answers = await asyncio.gather(*(service.sign_in(client, user) for _ in range(SLOTS + QUEUE)))
    assert {200} == {answer.status_code for answer in answers}


@pytest.mark.slow
async def test_abandoned_sign_ins_never_compute_more_hashes_at_a_time_than_there_are_slots(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(password_hash_workers=SLOTS, password_hash_queue=QUEUE, log_level="WARNING")
    await abandon(service, HashMeter(monkeypatch), 40)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_ten_thousand_abandoned_sign_ins_never_compute_more_hashes_at_a_time_than_there_are_slots(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(password_hash_workers=SLOTS, password_hash_queue=QUEUE, log_level="WARNING")
    await abandon(service, HashMeter(monkeypatch), 10_000)
