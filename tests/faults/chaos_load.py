"""Clients that refresh, retry, share tokens between tabs, sign out and lose tokens to attackers, while servers are killed.

Every response is recorded for the checker of histories. The clients are honest: after a lost response or a 503 they present the
same token again until they get an answer.
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
"""Longer than a server waits for a connection, so that no statement is still to come."""
HOME = "home"
"""The user agent of clients. An attacker has another one, and so another place."""
GRACES = {"spa": 30.0, "hasty": 1.0, "strict": 0.0}


@dataclass(slots=True)
class TokenFamily:
    """One session: the tokens that its client and an attacker have, and its operations."""

    first: RefreshToken
    client_id: str
    tokens: dict[int, str]
    operations: list[Operation] = field(default_factory=list)
    is_over: bool = False

    @property
    def newest(self) -> int:
        return max(self.tokens)


class ChaosLoad:
    """A load on some servers. Tests print its counters."""

    def __init__(self, ports: Sequence[int], chance: random.Random, pause: float = 0.0) -> None:
        """`pause`: the longest time between two requests of a client, seconds."""
        self._ports, self._chance, self._pause = ports, chance, pause
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.wrong: list[str] = []
        """Responses that must never come: 500, and 503 without Retry-After."""

    def operations(self) -> int:
        """Return how many operations have come to an end."""
        return sum(self.counts[saw.name.lower()] for saw in Saw)

    async def run(self, families: Sequence[TokenFamily], steps: int, *, until: Callable[[], bool] = lambda: False) -> None:
        """Run one session after another, `steps` each, on connections of their own to all servers."""
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

    async def _step(self, family: TokenFamily, tabs: Sequence[Sequence[Connection]]) -> None:
        if self._pause:
            await asyncio.sleep(self._chance.uniform(0, self._pause))
        dice, newest = self._chance.random(), family.newest
        if dice < 0.002:
            await self._revoke(family, self._chance.choice(tabs[0]))
        elif dice < 0.006 and newest >= 2:
            await self._refresh(family, self._chance.randrange(newest - 1), self._chance.choice(tabs[0]))
        elif dice < 0.06 and newest >= 1:
            place = "elsewhere" if self._chance.random() < 0.1 else HOME
            await self._refresh(family, newest - 1, self._chance.choice(tabs[0]), place)
        elif dice < 0.25 and family.client_id == "spa":
            chosen = [self._chance.choice(tab) for tab in tabs[: self._chance.choice((2, 3))]]
            await asyncio.gather(*(self._refresh(family, newest, connection) for connection in chosen))
        else:
            await self._refresh(family, newest, self._chance.choice(tabs[0]))

    async def _refresh(self, family: TokenFamily, generation: int, connection: Connection, place: str = HOME) -> None:
        form = {"grant_type": "refresh_token", "client_id": family.client_id, "refresh_token": family.tokens[generation]}
        try:
            answer, started, ended = await self._ask(connection, "/token", form, place)
        except NotSent:
            return
        saw = Saw.UNKNOWN
        if answer is not None and answer.status == 200:
            saw, child = Saw.CHILD, answer.members["refresh_token"]
            # The child is a function of its parent, so every response has the same one.
            known = family.tokens.setdefault(generation_of(child), child)
            if known != child or generation_of(child) != generation + 1:
                self.wrong.append("two children of one token")
        elif answer is not None and answer.status == 400:
            saw = Saw.REFUSED
            family.is_over = True
        family.operations.append(Operation(generation, started, ended, saw, place))
        self.counts[saw.name.lower()] += 1

    async def _revoke(self, family: TokenFamily, connection: Connection) -> None:
        form = {"client_id": family.client_id, "token": family.tokens[family.newest]}
        try:
            answer, started, ended = await self._ask(connection, "/revoke", form)
        except NotSent:
            return
        saw = Saw.ENDED if answer is not None and answer.status == 200 else Saw.UNKNOWN
        family.operations.append(Operation(None, started, ended, saw))
        self.counts[saw.name.lower()] += 1

    async def _ask(
        self, connection: Connection, path: str, form: dict[str, str], place: str = HOME
    ) -> tuple[Answer | None, float, float]:
        answer, started = None, time.time()
        try:
            answer = await connection.ask("POST", path, form, headers={"User-Agent": place})
        except NotSent:
            self.counts["not sent"] += 1
            await asyncio.sleep(0.02)
            raise
        except Lost:
            await asyncio.sleep(0.02)
        ended = time.time()
        if answer is not None:
            self.slowest = max(self.slowest, ended - started)
            self._check(answer)
            if answer.status == 503:
                await asyncio.sleep(0.05)
        return answer, started, ended

    def _check(self, answer: Answer) -> None:
        self.counts[str(answer.status)] += 1
        is_foreseen = answer.status in {200, 400} or (answer.status == 503 and "retry-after" in answer.headers)
        if not is_foreseen or (answer.status == 400 and answer.members["error"] != "invalid_grant"):
            self.wrong.append(f"{answer.status} {answer.content!r}")


def families_of(codec: RefreshTokenCodec, firsts: Sequence[RefreshToken], client_id: str) -> list[TokenFamily]:
    return [TokenFamily(first, client_id, {0: codec.encode(first)}) for first in firsts]


async def check_all(dsn: str, families: Sequence[TokenFamily]) -> int:
    """Check every session's history against its row. Return the number of operations. Raises Violation."""
    outcomes = await _outcomes(dsn)
    for family in families:
        check(family.operations, outcomes[family.first.handle], GRACES[family.client_id])
    return sum(len(family.operations) for family in families)


async def until_quiet(dsn: str) -> None:
    """Wait until no server has run a statement for a while: abandoned requests are done by then, or never."""
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
        rows = await connection.fetch(
            "SELECT handle, generation, revoked_at IS NOT NULL AS is_revoked, late_repeats, repeats FROM authmint.sessions"
        )
    finally:
        await connection.close()
    return {row["handle"]: Outcome(*list(row)[1:]) for row in rows}


async def while_going_on(work: Awaitable[object], faults: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run both concurrently; the event is set when the work is done."""
    done = asyncio.Event()
    harming = asyncio.create_task(faults(done))
    try:
        await work
    finally:
        done.set()
        await harming
