"""Servers are restarted one after the other during refreshes: no request fails, nothing is lost (T-23, L19)."""

import asyncio
import base64
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.chaos_load import TokenFamily, check_all
from tests.faults.cluster import DatabaseForTests
from tests.faults.history import Operation, Saw
from tests.faults.http import Answer, Connection, Lost, NotSent
from tests.faults.servers import Server, Site, generation_of, site
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed")]

DRAIN_SECONDS = 1


class Balancer:
    """A load balancer: it polls `/readyz`, keeps its connections, and tries another server when one refuses.

    It never sends a request twice.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports, self._ready = ports, set(ports)
        self.refused = 0

    async def poll(self) -> None:
        """Poll all servers until it is cancelled."""
        probes = {port: Connection(port, seconds=2) for port in self._ports}
        try:
            while True:
                for port, connection in probes.items():
                    try:
                        is_ready = (await connection.ask("GET", "/readyz")).status == 200
                    except (NotSent, Lost):
                        is_ready = False
                    (self._ready.add if is_ready else self._ready.discard)(port)
                await asyncio.sleep(0.1)
        finally:
            for connection in probes.values():
                connection.close()

    async def ask(self, connections: dict[int, Connection], turn: int, form: dict[str, str]) -> Answer:
        """Send a request to a ready server. Raises Lost, or NotSent when two servers refuse."""
        ports = sorted(self._ready) or list(self._ports)
        first = ports[turn % len(ports)]
        try:
            return await connections[first].ask("POST", "/token", form)
        except NotSent:
            self.refused += 1
            other = next(port for port in self._ports if port != first)
            return await connections[other].ask("POST", "/token", form)


async def refresh(
    balancer: Balancer, ports: Sequence[int], family: TokenFamily, counts: Counter[str], done: asyncio.Event
) -> None:
    """Refresh one session until `done`; every response must have the next token."""
    connections = {port: Connection(port) for port in ports}
    turn = hash(family.first.handle)
    while not done.is_set():
        turn += 1
        newest, started = family.newest, time.time()
        form = {"grant_type": "refresh_token", "client_id": family.client_id, "refresh_token": family.tokens[newest]}
        try:
            answer = await balancer.ask(connections, turn, form)
        except (Lost, NotSent) as error:
            counts[type(error).__name__] += 1
            continue
        counts[str(answer.status)] += 1
        if answer.status == 200:
            child = answer.members["refresh_token"]
            family.tokens[generation_of(child)] = child
            family.operations.append(Operation(newest, started, time.time(), Saw.CHILD))
        await asyncio.sleep(0.02)
    for connection in connections.values():
        connection.close()


async def restart(servers: Sequence[Server], times: int) -> None:
    """Restart one server after the other, the next when the one before is ready."""
    for _ in range(times):
        for server in servers:
            assert 0 == await asyncio.to_thread(server.running.stop, signal.SIGTERM), server.said
            server.start()
            await asyncio.to_thread(server.wait_until_ready)


async def roll(found: Site, database: DatabaseForTests, *, times: int, at_once: int) -> None:
    families = (await people(found, database.dsn(), 3 * at_once))[:at_once]
    balancer, counts, done = Balancer(found.ports), Counter[str](), asyncio.Event()
    polling = asyncio.create_task(balancer.poll())
    load = asyncio.gather(*(refresh(balancer, found.ports, family, counts, done) for family in families))
    try:
        await restart(found.servers, times)
    finally:
        done.set()
        await load
        polling.cancel()
    operations = await check_all(database.dsn(), families)
    results = {"restarts": times * len(found.servers), "saw": dict(counts), "refused_and_sent_to_the_other": balancer.refused}
    sys.stdout.write(json.dumps(results | {"operations": operations, "violations": 0}) + "\n")
    assert {"200"} == set(counts)


@pytest.mark.timeout(110)
def test_a_rolling_restart_under_load_fails_no_request(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn(), AUTHMINT_DRAIN_SECONDS=str(DRAIN_SECONDS)) as found:
        asyncio.run(roll(found, database, times=1, at_once=4))


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_twenty_rolling_restarts_under_load_fail_no_request(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn(), AUTHMINT_DRAIN_SECONDS=str(DRAIN_SECONDS)) as found:
        asyncio.run(roll(found, database, times=20, at_once=32))


def serial_of(answer: Answer) -> int:
    payload = answer.content.split(b".")[1]
    serial: int = json.loads(base64.urlsafe_b64decode(payload + b"=="))["serial"]
    return serial


async def drain(found: Site) -> None:
    (server,) = found.servers
    poll, other = Connection(server.port), Connection(server.port)
    serial = serial_of(await poll.ask("GET", "/revocation-list"))
    assert "connection" not in (await other.ask("GET", "/livez")).headers
    held = asyncio.create_task(poll.ask("GET", f"/revocation-list?since={serial}&wait=10"))
    await asyncio.sleep(0.5)
    assert not held.done()
    server.running.process.send_signal(signal.SIGTERM)
    assert (200, serial) == ((answer := await held).status, serial_of(answer))
    answers = [await other.ask("GET", path) for path in ("/readyz", "/livez")]
    assert [(503, "close"), (200, "close")] == [(answer.status, answer.headers["connection"]) for answer in answers]
    assert "stopping" == answers[0].members["checks"]["process"]["status"]
    # The long poll was in progress before the signal; its connection is served once more, and then closed as well.
    assert "close" == (await poll.ask("GET", "/livez")).headers["connection"]
    assert 0 == await asyncio.to_thread(server.running.stop, signal.SIGTERM)


@pytest.mark.timeout(60)
def test_a_stopping_server_serves_and_reports_it_and_delays_no_response(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn(), count=1, AUTHMINT_DRAIN_SECONDS="3") as found:
        asyncio.run(drain(found))
