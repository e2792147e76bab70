"""The database is late, cut off, slow, busy or altered, and clients disconnect: 503 at worst, and all works afterwards."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from authmint_service.database import Database
from tests.e2e.conftest import fetch
from tests.faults.chaos_load import ChaosLoad, TokenFamily, check_all
from tests.faults.cluster import Cluster, DatabaseForTests
from tests.faults.http import Answer, Connection, Lost
from tests.faults.proxy import Network, Proxy
from tests.faults.servers import FORKED, Site, site
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed"), pytest.mark.timeout(110)]

READY_SECONDS = 5.0
"""A server must be ready within this time after the database is back (L1, L3 and L12)."""


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def status(port: int, path: str) -> int:
    connection = Connection(port, seconds=4)
    try:
        return (await connection.ask("GET", path)).status
    finally:
        connection.close()


def ready_is(port: int, expected: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return expected == await status(port, "/readyz")

    return check


@asynccontextmanager
async def behind(proxy: Proxy, cluster: Cluster | DatabaseForTests, folder: Path, **settings: str) -> AsyncIterator[Site]:
    """One server whose database is behind `proxy`, which lives in this loop while the server starts."""
    context = site(folder, cluster.dsn(port=proxy.port), count=1, **settings)
    found = await asyncio.to_thread(context.__enter__)
    try:
        yield found
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def refresh(connection: Connection, family: TokenFamily) -> Answer:
    newest = family.tokens[family.newest]
    form = {"grant_type": "refresh_token", "client_id": family.client_id, "refresh_token": newest}
    answer = await connection.ask("POST", "/token", form)
    assert answer.status == 200 or (answer.status, "retry-after" in answer.headers) == (503, True), answer
    if answer.status == 200:
        family.tokens[family.newest + 1] = answer.members["refresh_token"]
    return answer


def test_a_server_that_starts_before_its_database_is_ready_soon_after_it(cluster: Cluster, tmp_path: Path) -> None:
    cluster.stop()
    found = Site(tmp_path, cluster.dsn(), 1, FORKED, {})
    (server,) = found.servers
    server.start()
    try:
        server.running.wait_for(f"http://127.0.0.1:{server.port}/livez")
        pid = server.running.process.pid
        assert 503 == fetch(f"http://127.0.0.1:{server.port}/readyz")[0]
        # In production it is a minute or an hour; what is waited for, and how, is the same.
        for _ in range(6):
            assert server.running.process.poll() is None
            assert [200, 503] == [fetch(f"http://127.0.0.1:{server.port}{path}")[0] for path in ("/livez", "/readyz")]
        cluster.start()
        server.running.wait_for(f"http://127.0.0.1:{server.port}/readyz", READY_SECONDS)
        assert pid == server.running.process.pid
    finally:
        server.stop()


async def cut(cluster: Cluster, folder: Path) -> None:
    async with Proxy(cluster.port) as proxy, behind(proxy, cluster, folder) as found:
        (port,) = found.ports
        for network in (Network.RESET, Network.BLACK_HOLE):
            proxy.network = network
            await until(ready_is(port, 503), 2.0 + 1.5)
            assert 200 == await status(port, "/livez")
            proxy.network = Network.GOOD
            await until(ready_is(port, 200), READY_SECONDS + 5)


def test_a_server_without_its_database_is_live_and_reports_that_it_is_not_ready(cluster: Cluster, tmp_path: Path) -> None:
    asyncio.run(cut(cluster, tmp_path))


async def slow(cluster: Cluster, folder: Path) -> None:
    async with Proxy(cluster.port) as proxy, behind(proxy, cluster, folder) as found:
        (port,) = found.ports
        families = await people(found, cluster.dsn(), 12)
        connections = [Connection(port) for _ in families]
        assert {200} == {(await refresh(*pair)).status for pair in zip(connections, families, strict=True)}
        proxy.delay = 0.2
        answers = await asyncio.gather(*(refresh(*pair) for pair in zip(connections, families, strict=True)))
        assert 200 in {answer.status for answer in answers}
        # Resource services fetch the keys, which are in the server's memory.
        proxy.network = Network.BLACK_HOLE
        assert 200 == (await connections[0].ask("GET", "/.well-known/jwks.json")).status
        proxy.network, proxy.delay = Network.GOOD, 0.0
        for connection in connections:
            connection.close()


def test_a_slow_database_is_waited_for_within_bounds_and_keys_are_published_all_the_same(
    cluster: Cluster, tmp_path: Path
) -> None:
    asyncio.run(slow(cluster, tmp_path))


async def alter(dsn: str, done: asyncio.Event) -> int:
    """Alter the tables that a refresh uses, inside and outside transactions, until `done`. Return how often."""
    connection, times = await asyncpg.connect(dsn), 0
    try:
        while not done.is_set():
            for table in ("sessions", "accounts", "clients"):
                async with connection.transaction():
                    await connection.execute(f"ALTER TABLE authmint.{table} ADD COLUMN later integer NOT NULL DEFAULT 0")
                await connection.execute(f"ALTER TABLE authmint.{table} DROP COLUMN later")
            async with connection.transaction():
                await connection.execute("DROP INDEX authmint.sessions_account_id")
                await connection.execute("CREATE INDEX sessions_account_id ON authmint.sessions (account_id)")
            await connection.execute("ALTER TABLE authmint.clients ALTER COLUMN name TYPE varchar")
            await connection.execute("ALTER TABLE authmint.clients ALTER COLUMN name TYPE text")
            times += 1
            await asyncio.sleep(0.05)
    finally:
        await connection.close()
    return times


async def refresh_while_altered(found: Site, cluster: Cluster) -> None:
    families = await people(found, cluster.dsn(), 90)
    load, done = ChaosLoad(found.ports, random.Random(1)), asyncio.Event()
    altering = asyncio.create_task(alter(cluster.dsn(), done))
    try:
        await asyncio.gather(*(load.run(families[number::8], 20) for number in range(8)))
    finally:
        done.set()
    times = await altering
    operations = await check_all(cluster.dsn(), families)
    sys.stdout.write(json.dumps({"altered": times, "operations": operations, "saw": dict(load.counts)}) + "\n")
    assert [] == load.wrong
    assert times > 5
    assert {"200", "400"} >= {seen for seen in load.counts if seen.isdigit()}


def test_tables_that_are_altered_under_load_fail_no_request(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        asyncio.run(refresh_while_altered(found, cluster))


async def abort(found: Site, cluster: Cluster, times: int) -> None:
    """Clients send a request and disconnect; the one connection that the server has must be usable by the last client."""
    families = (await people(found, cluster.dsn(), 300))[:100]
    (port,) = found.ports
    tokens = iter(range(times))

    async def send_and_disconnect() -> None:
        for number in tokens:
            connection, family = Connection(port), families[number % len(families)]
            form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": family.tokens[0]}
            with suppress(TimeoutError, Lost):
                async with asyncio.timeout(0.001 * (number % 20)):
                    assert 500 != (await connection.ask("POST", "/token", form)).status
            connection.close()

    await asyncio.gather(*(send_and_disconnect() for _ in range(10)))
    last = Connection(port)
    await until(ready_is(port, 200), READY_SECONDS)
    fresh = await people(found, cluster.dsn(), 30)
    assert {200} == {(await refresh(last, family)).status for family in fresh}
    last.close()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'authmint' AND state <> 'idle'"
    connection = await asyncpg.connect(cluster.dsn())
    try:
        assert 0 == await connection.fetchval(busy)
    finally:
        await connection.close()


def test_clients_that_disconnect_while_they_are_served_leave_every_connection_usable(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn(), count=1, AUTHMINT_DATABASE_POOL_SIZE="1") as found:
        asyncio.run(abort(found, cluster, 400))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_clients_that_disconnect_leave_every_connection_usable(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn(), count=1, AUTHMINT_DATABASE_POOL_SIZE="1") as found:
        asyncio.run(abort(found, cluster, 10_000))


async def herd(found: Site, cluster: Cluster, *, sessions: int, connections: int) -> None:
    """All tokens expire in one second; a refused client waits as long as `Retry-After` says, and tries again."""
    families = await people(found, cluster.dsn(), sessions)
    counts: Counter[int] = Counter()

    async def refresh_all(share: list[TokenFamily], port: int) -> None:
        connection = Connection(port, seconds=30)
        for family in share:
            while (answer := await refresh(connection, family)).status != 200:
                counts[503] += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            counts[200] += 1
        connection.close()

    ports = found.ports
    await asyncio.gather(*(refresh_all(families[n::connections], ports[n % len(ports)]) for n in range(connections)))
    sys.stdout.write(json.dumps({"sessions": len(families), "connections": connections, "saw": dict(counts), "lost": 0}) + "\n")
    assert len(families) == counts[200]
    connection = await asyncpg.connect(cluster.dsn())
    try:
        moved = "SELECT count(*) FROM authmint.sessions WHERE handle = ANY($1) AND generation = 1 AND revoked_at IS NULL"
        assert len(families) == await connection.fetchval(moved, [family.first.handle for family in families])
    finally:
        await connection.close()


def test_all_refreshes_of_one_second_are_served(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        asyncio.run(herd(found, cluster, sessions=300, connections=100))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_refreshes_of_one_second_are_served(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        asyncio.run(herd(found, cluster, sessions=9_999, connections=1_000))


def test_what_is_cancelled_while_the_database_is_silent_stays_cancelled(cluster: Cluster) -> None:
    """A cancellation is lost when what was cancelled raises something else: here the connection cannot be given back."""

    async def cancel() -> None:
        async with Proxy(cluster.port) as proxy:
            database = Database(size=1)
            async with database.open(cluster.dsn().replace(f":{cluster.port}", f":{proxy.port}")):
                await database.execute("SELECT 1")
                asking = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
                await asyncio.sleep(0.2)
                proxy.network = Network.BLACK_HOLE
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            assert 0 == database.claimed

    asyncio.run(cancel())
