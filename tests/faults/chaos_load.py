"""Many people who refresh, retry, share tokens between tabs, sign out and are robbed, while servers and database are killed.

Everything that was seen is recorded for the checker of histories. The people are honest clients: after a lost answer or a 503
they ask again with the same token, until they know.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from authmint_service.sessions import RefreshToken, RefreshTokenCodec
from tests.faults.history import Operation, Outcome, Saw, check
from tests.faults.http import Answer, Connection, Lost, NotSent
from tests.faults.servers import generation_of

QUIET_SECONDS = 1.5
"""Longer than a server waits for a connection, so that none is about to ask."""
GRACES = {"spa": 30.0, "hasty": 1.0, "strict": 0.0}


@dataclass(slots=True)
class MetricFamily:
    """One session: the tokens that its client and a thief have seen, and everything that happened to it."""

    first: RefreshToken
    client_id: str
    tokens: dict[int, str]
    operations: list[Operation] = field(default_factory=list)
    is_over: bool = False

    @property
    def newest(self) -> int:
        return max(self.tokens)


class Storm:
    """A load on some servers. Its counters are what a test prints."""

    def __init__(self, ports: Sequence[int], chance: random.Random, pause: float = 0.0) -> None:
        """`pause`: seconds that somebody waits between two requests, at most."""
        self._ports, self._chance, self._pause = ports, chance, pause
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.wrong: list[str] = []
        """Answers that nobody may ever get: 500, and 503 without Retry-After."""

    async def live(self, families: Sequence[MetricFamily], steps: int, *, until: Callable[[], bool] = lambda: False) -> None:
        """One person after another, so many steps each, on connections of their own to all servers."""
        connections = [[Connection(port) for port in self._ports] for _ in range(3)]
        try:
            for family in families:
                for _ in range(steps):
                    if family.is_over or until():
                        break
                    await self._step(family, connections)
        finally:
            for connection in (one for tab in connections for one in tab):
                connection.close()

    async def _step(self, family: MetricFamily, tabs: Sequence[Sequence[Connection]]) -> None:
        if self._pause:
            await asyncio.sleep(self._chance.uniform(0, self._pause))
        dice, newest = self._chance.random(), family.newest
        if dice < 0.002:
            await self._revoke(family, self._chance.choice(tabs[0]))
        elif dice < 0.006 and newest >= 2:
            await self._refresh(family, self._chance.randrange(newest - 1), self._chance.choice(tabs[0]))
        elif dice < 0.06 and newest >= 1 and family.client_id == "spa":
            await self._refresh(family, newest - 1, self._chance.choice(tabs[0]))
        elif dice < 0.25 and family.client_id == "spa":
            chosen = [self._chance.choice(tab) for tab in tabs[: self._chance.choice((2, 3))]]
            await asyncio.gather(*(self._refresh(family, newest, connection) for connection in chosen))
        else:
            await self._refresh(family, newest, self._chance.choice(tabs[0]))

    async def _refresh(self, family: MetricFamily, generation: int, connection: Connection) -> None:
        form = {"grant_type": "refresh_token", "client_id": family.client_id, "refresh_token": family.tokens[generation]}
        try:
            answer, started, ended = await self._ask(connection, "/token", form)
        except NotSent:
            return
        saw = Saw.UNKNOWN
        if answer is not None and answer.status == 200:
            saw, child = Saw.CHILD, answer.members["refresh_token"]
            # The child is a function of its parent, so whoever gets it gets the same one.
            known = family.tokens.setdefault(generation_of(child), child)
            if known != child or generation_of(child) != generation + 1:
                self.wrong.append("two children of one token")
        elif answer is not None and answer.status == 400:
            saw = Saw.REFUSED
            family.is_over = True
        family.operations.append(Operation(generation, started, ended, saw))
        self.counts[saw.name.lower()] += 1

    async def _revoke(self, family: MetricFamily, connection: Connection) -> None:
        form = {"client_id": family.client_id, "token": family.tokens[family.newest]}
        try:
            answer, started, ended = await self._ask(connection, "/revoke", form)
        except NotSent:
            return
        saw = Saw.ENDED if answer is not None and answer.status == 200 else Saw.UNKNOWN
        family.operations.append(Operation(None, started, ended, saw))
        self.counts[saw.name.lower()] += 1

    async def _ask(self, connection: Connection, path: str, form: dict[str, str]) -> tuple[Answer | None, float, float]:
        answer, started = None, time.time()
        try:
            answer = await connection.ask("POST", path, form)
        except NotSent:
            self.counts["not sent"] += 1
            await asyncio.sleep(0.02)
            raise
        except Lost:
            await asyncio.sleep(0.02)
        ended = time.time()
        if answer is not None:
            self.slowest = max(self.slowest, ended - started)
            self._judge(answer)
            if answer.status == 503:
                await asyncio.sleep(0.05)
        return answer, started, ended

    def _judge(self, answer: Answer) -> None:
        self.counts[str(answer.status)] += 1
        is_foreseen = answer.status in {200, 400} or (answer.status == 503 and "retry-after" in answer.headers)
        if not is_foreseen or (answer.status == 400 and answer.members["error"] != "invalid_grant"):
            self.wrong.append(f"{answer.status} {answer.content!r}")


def families_of(codec: RefreshTokenCodec, firsts: Sequence[RefreshToken], client_id: str) -> list[MetricFamily]:
    return [MetricFamily(first, client_id, {0: codec.encode(first)}) for first in firsts]


async def check_all(dsn: str, families: Sequence[MetricFamily]) -> int:
    """Checks every session's history against its row. How many operations; raises Violation."""
    outcomes = await _outcomes(dsn)
    for family in families:
        check(family.operations, outcomes[family.first.handle], GRACES[family.client_id])
    return sum(len(family.operations) for family in families)


async def until_quiet(dsn: str) -> None:
    """Waits until no server has asked anything for a moment: what clients have given up is done by then, or never."""
    connection, since = await asyncpg.connect(dsn), time.monotonic()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'authmint' AND state <> 'idle'"
    try:
        async with asyncio.timeout(30):
            while time.monotonic() - since < QUIET_SECONDS:
                if await connection.fetchval(busy):
                    since = time.monotonic()
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def _outcomes(dsn: str) -> dict[bytes, Outcome]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT handle, generation, revoked_at IS NOT NULL AS is_revoked FROM authmint.sessions")
    finally:
        await connection.close()
    return {row["handle"]: Outcome(row["generation"], row["is_revoked"]) for row in rows}


async def while_going_on(work: Awaitable[object], faults: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Both side by side; the faults are told when the work is done."""
    done = asyncio.Event()
    harming = asyncio.create_task(faults(done))
    try:
        await work
    finally:
        done.set()
        await harming
