"""The database restarts, stops responding or ends its connections during refreshes: 503 at worst, nothing is lost (T-22)."""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.faults.chaos_load import ChaosLoad, check_all, until_quiet, while_going_on
from tests.faults.cluster import Cluster
from tests.faults.http import Connection, Lost, NotSent
from tests.faults.proxy import Network, Proxy
from tests.faults.servers import Site, site
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed")]

SILENT_SECONDS = 8.0
"""Longer than every deadline, so that all connections are given up."""


class Outages:
    """Outages of the database, and how long each server needs to be ready again after each."""

    def __init__(self, found: Site, cluster: Cluster, proxy: Proxy) -> None:
        self._site, self._cluster, self._proxy = found, cluster, proxy
        self.recoveries: dict[str, list[float]] = {"restart": [], "silence": [], "termination": []}

    async def run(self, times: int, pause: float, _: asyncio.Event) -> None:
        """Make each kind of outage `times` times, `pause` seconds before each."""
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "restart": self._restart, "silence": self._silence, "termination": self._terminate,
        }  # fmt: skip
        for _number in range(times):
            for kind, harm in kinds.items():
                await asyncio.sleep(pause)
                await harm()
                ended = time.monotonic()
                await asyncio.gather(*(self._ready(port) for port in self._site.ports))
                self.recoveries[kind].append(round(time.monotonic() - ended, 2))

    async def _restart(self) -> None:
        await asyncio.to_thread(self._cluster.restart, "immediate")

    async def _silence(self) -> None:
        self._proxy.network = Network.BLACK_HOLE
        await asyncio.sleep(SILENT_SECONDS)
        self._proxy.network = Network.GOOD

    async def _terminate(self) -> None:
        connection = await asyncpg.connect(self._cluster.dsn())
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'authmint'"
            )
        finally:
            await connection.close()

    async def _ready(self, port: int) -> None:
        async with asyncio.timeout(30):
            while True:
                connection = Connection(port, seconds=3)
                try:
                    if (await connection.ask("GET", "/readyz")).status == 200:
                        return
                except (Lost, NotSent):
                    pass
                finally:
                    connection.close()
                await asyncio.sleep(0.05)


async def refresh_through_outages(
    cluster: Cluster, folder: Path, *, times: int, pause: float, at_once: int, sessions: int
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    async with Proxy(cluster.port) as proxy:
        # The servers start in a thread: they reach the database through the proxy, which lives in this loop.
        context = site(folder, cluster.dsn(port=proxy.port))
        found = await asyncio.to_thread(context.__enter__)
        try:
            made = await people(found, cluster.dsn(), sessions)
            chance.shuffle(made)
            chaos, outages, is_done = ChaosLoad(found.ports, chance, pause=0.2), Outages(found, cluster, proxy), asyncio.Event()

            async def harm() -> None:
                await outages.run(times, pause, is_done)
                is_done.set()

            shares = (made[number::at_once] for number in range(at_once))
            load = asyncio.gather(*(chaos.run(share, 10_000, until=is_done.is_set) for share in shares))
            await while_going_on(harm(), lambda _: _finished(load))
            await until_quiet(cluster.dsn())
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
    assert [] == chaos.wrong
    operations = await check_all(cluster.dsn(), made)
    results = {"operations": operations, "saw": dict(chaos.counts), "recovery_seconds": outages.recoveries, "violations": 0}
    sys.stdout.write(json.dumps(results | {"slowest_answer": round(chaos.slowest, 2), "seed": seed}) + "\n")
    assert chaos.counts["503"] > 0 < chaos.counts["child"]


async def _finished(load: "asyncio.Future[list[None]]") -> None:
    await load


@pytest.mark.timeout(170)
def test_database_outages_under_load_cause_no_500_and_lose_no_acknowledged_refresh(cluster: Cluster, tmp_path: Path) -> None:
    asyncio.run(refresh_through_outages(cluster, tmp_path, times=1, pause=1, at_once=6, sessions=900))


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(3600)
def test_fifteen_outages_in_half_an_hour_cause_no_500_and_lose_no_acknowledged_refresh(
    cluster: Cluster, tmp_path: Path
) -> None:
    asyncio.run(refresh_through_outages(cluster, tmp_path, times=5, pause=115, at_once=16, sessions=30_000))
