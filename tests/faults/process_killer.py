"""Kills servers and databases at random times, each only after a proof that the test made it, and starts them again."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import asyncpg

from tests.faults.cluster import Cluster
from tests.faults.servers import Site


class ProcessKiller:
    """SIGKILL to server processes, to the database's connections, and to the database itself."""

    def __init__(self, site: Site, cluster: Cluster, chance: random.Random, work: Callable[[], int], between: int) -> None:
        """`work`: the operations so far; `between`: the most of them between a restart and the next kill.

        Counted in operations and not in seconds: on a slow computer most responses would be lost, which would prove little.
        """
        self._work, self._between = work, between
        self._site, self._cluster, self._chance = site, cluster, chance
        self.counts: Counter[str] = Counter()

    async def run(self, kills: int, done: asyncio.Event) -> None:
        """Kill `kills` times, or until `done`. The next kill comes when the process before it is back."""
        for _ in range(kills):
            due = self._work() + self._chance.randint(0, self._between)
            while self._work() < due and not done.is_set():
                await asyncio.sleep(0.005)
            if done.is_set():
                return
            what = self._chance.choices(("server", "backend", "database"), (6, 3, 1))[0]
            self.counts[what] += 1
            await getattr(self, f"_{what}")()

    async def _server(self) -> None:
        server = self._chance.choice(self._site.servers)
        server.kill()
        server.start()
        await asyncio.to_thread(server.wait_until_ready)

    async def _backend(self) -> None:
        connection = await self._connect()
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'authmint' ORDER BY random() LIMIT 1"
        )
        if pid is not None:
            self._cluster.kill_backend(pid)
        connection.terminate()
        await (await self._connect()).close()

    async def _database(self) -> None:
        self._cluster.kill()
        await asyncio.to_thread(self._cluster.start)

    async def _connect(self) -> asyncpg.Connection:
        for _ in range(600):
            try:
                return await asyncpg.connect(self._cluster.dsn(), timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.05)
        raise AssertionError("the database does not come back")
