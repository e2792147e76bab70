"""`make bench-sessions`: what a large table of sessions costs a refresh. Over HTTP, one server each, ratios in one run."""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from authmint_service.database import Database
from authmint_service.migrations import migrate
from authmint_service.sessions import SessionStore, prune
from tests.faults.bulk_sessions import LIMITS, fill, first_token_of
from tests.faults.cluster import Cluster, own_cluster
from tests.faults.http import Connection
from tests.faults.servers import SERVE, Site, add_clients, site

CONNECTIONS, SLICE, ROUNDS = 8, 1_000, 12
Row = tuple[str, float, str]


@dataclass
class Side:
    """A server, its table, and the tokens that it refreshes in turn."""

    found: Site
    count: int
    tokens: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def choose(self, sample: int) -> None:
        step = self.count // sample
        self.tokens = [self.found.codec.encode(first_token_of(number * step)) for number in range(sample)]

    async def refresh(self, requests: int, offset: int) -> None:
        """Send `requests` refreshes, each of another session, over several connections at once."""
        connections = [Connection(self.found.ports[0]) for _ in range(CONNECTIONS)]
        numbers = [(offset + number) % len(self.tokens) for number in range(requests)]
        await asyncio.gather(*(self._worker(one, numbers[share::CONNECTIONS]) for share, one in enumerate(connections)))
        for connection in connections:
            connection.close()

    async def _worker(self, connection: Connection, numbers: Sequence[int]) -> None:
        for number in numbers:
            form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": self.tokens[number]}
            started = time.perf_counter()
            response = await connection.ask("POST", "/token", form)
            self.milliseconds.append((time.perf_counter() - started) * 1000)
            assert response.status == 200, response
            self.tokens[number] = response.members["refresh_token"]

    def take(self) -> tuple[float, float]:
        """Return the median and the 99th percentile since the last call, in milliseconds."""
        measured, self.milliseconds = self.milliseconds, []
        return statistics.median(measured), statistics.quantiles(measured, n=100)[98]


async def measure(small: Side, large: Side, dsn: str) -> list[Row]:
    for side in (small, large):
        await side.refresh(SLICE, 0)
        side.take()
    for number in range(ROUNDS):
        for side in (small, large):
            await side.refresh(SLICE, number * SLICE)
    (few_median, few), (many_median, many) = small.take(), large.take()
    deleted, pruning_median, pruning = await _beside_pruning(large, dsn)
    return [
        (f"refresh p99 with {large.count:,} live sessions / with {small.count:,}", many / few, "<= 1.5"),
        ("the same, median", many_median / few_median, ""),
        (f"refresh p99 while sessions are pruned ({deleted:,}) / without", pruning / many, "<= 2"),
        ("the same, median", pruning_median / many_median, ""),
        (f"refresh p99 with {large.count:,} live sessions (ms)", many, ""),
    ]


async def _beside_pruning(large: Side, dsn: str) -> tuple[int, float, float]:
    """Measure beside pruning at the pace of the service. Return how many sessions it deleted, the median and the p99."""
    before, database = await _count_prunable(dsn), Database(size=1)
    async with database.open(dsn):
        pruning = asyncio.create_task(prune(SessionStore(database, LIMITS), time.time()))
        for number in range(ROUNDS):
            await large.refresh(SLICE, number * SLICE)
        median, p99 = large.take()
        pruning.cancel()
        with suppress(asyncio.CancelledError):
            await pruning
    return before - await _count_prunable(dsn), median, p99


async def _count_prunable(dsn: str) -> int:
    """Return how many sessions have expired long enough to be pruned."""
    connection = await asyncpg.connect(dsn)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM authmint.sessions WHERE idle_expires_at < now() - interval '1 day'", timeout=600
        )
    finally:
        await connection.close()
    return count


def _prepare(cluster: Cluster, name: str, count: int, over: int) -> str:
    async def make() -> None:
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        await migrate(cluster.dsn(name))
        await add_clients(cluster.dsn(name))
        await fill(cluster.dsn(name), count, over=over)

    asyncio.run(make())
    return cluster.dsn(name)


def run(sessions: int) -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(own_cluster(folder / "postgres"))
        sides, dsn = [], ""
        for name, count, over in (("few", 1_000, 0), ("many", sessions, sessions // 10)):
            print(f"Making {count:,} sessions …", flush=True)
            dsn = _prepare(cluster, name, count, over)
            (folder / name).mkdir()
            side = Side(stack.enter_context(site(folder / name, dsn, count=1, command=SERVE)), count)
            side.choose(min(count, ROUNDS * SLICE))
            sides.append(side)
        return asyncio.run(measure(sides[0], sides[1], dsn))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--sessions", type=int, default=1_000_000, help="live sessions in the large table")
    chosen = arguments.parse_args()
    rows = run(chosen.sessions)
    if chosen.json:
        print(json.dumps([{"what": what, "measured": round(value, 3), "target": target} for what, value, target in rows]))
    else:
        for what, value, target in rows:
            print(f"{value:>10.3f}  {target:>8}  {what}")
