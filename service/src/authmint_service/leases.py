"""Leases: rows with an end, by which one process alone does a task. No lock is held, so transaction pooling works.

The database's clock decides when a lease ends, so a holder that dies loses it at its end. A holder that is alive renews it, and
stops in time if it cannot: its own deadline is counted from before the request was sent, so it is never later than the row's.

A process that was suspended wakes up after its deadline, and may send one more statement before it notices. A task for which
that matters writes inside `Leases.transaction`: it asks the database, and no other process can take the lease before it ends.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cached_property

from authmint_service.database import Connection, Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

LEASE_SECONDS = 30.0
"""How long a holder that has died keeps a task from the other processes."""
END_SECONDS = 1.0
"""How long a holder waits to give its lease back."""

Sleep = Callable[[float], Awaitable[object]]


class LeaseLost(Exception):
    """The lease has ended, or another process has it: what was being done under it must stop."""


class LeaseTaken(Exception):
    """Another process has the lease."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: until it ends, unless it is renewed."""
        super().__init__("another process has the lease")
        self.seconds = seconds


class Leases:
    """Takes, renews and keeps the leases of one process. Each method is one statement."""

    def __init__(self, database: Database, *, seconds: float = LEASE_SECONDS, sleep: Sleep = asyncio.sleep) -> None:
        """`seconds`: the length of a lease; `sleep`: waits between two renewals."""
        self._database, self._seconds, self._sleep = database, seconds, sleep

    @cached_property
    def holder(self) -> uuid.UUID:
        """This process. Made with the first use, as processes are forked after their application was made."""
        return uuid.uuid4()

    # The row is locked before its end is compared: of any number of processes that ask at once, one takes it.
    _TAKE = """
        WITH taken AS (
            INSERT INTO authmint.leases AS lease (name, holder, expires_at)
            VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
                ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
             WHERE lease.holder = excluded.holder OR lease.expires_at <= clock_timestamp()
            RETURNING name
        )
        SELECT EXISTS (SELECT FROM taken) AS taken,
               (SELECT extract(epoch FROM expires_at - clock_timestamp())::float8
                  FROM authmint.leases WHERE name = $1) AS remaining
    """

    async def take(self, name: str) -> None:
        """Take the lease, or take it again. Raise LeaseTaken if another process has it."""
        row = await self._database.fetch_row(self._TAKE, name, self.holder, self._seconds)
        if row is None or not row["taken"]:
            # The row of the winner may be newer than what this statement sees.
            remaining = None if row is None else row["remaining"]
            raise LeaseTaken(max(0.0, remaining if remaining is not None else self._seconds))

    # A lease that has ended is not renewed: another process may have taken it, and let it go again.
    _EXTEND = """
        UPDATE authmint.leases SET expires_at = clock_timestamp() + $3 * interval '1 second'
         WHERE name = $1 AND holder = $2 AND expires_at > clock_timestamp()
        RETURNING name
    """

    async def extend(self, name: str, seconds: float) -> bool:
        """Let the lease end in `seconds` from now. Return False if this process does not have it."""
        return await self._database.fetch_value(self._EXTEND, name, self.holder, seconds) is not None

    @asynccontextmanager
    async def hold(self, name: str, *, afterwards: float = 0.0) -> AsyncIterator[None]:
        """Run the block with the lease. Raise LeaseTaken before it, and cancel it with LeaseLost once the lease is lost.

        `afterwards`: seconds for which the lease is kept after the block has succeeded, so that no process does the same again.
        """
        asked_at = asyncio.get_running_loop().time()
        await self.take(name)
        deadline = asyncio.timeout_at(asked_at + self._seconds)
        try:
            async with deadline:
                renewing = asyncio.create_task(self._renew(name, deadline))
                try:
                    yield
                finally:
                    await _cancelled(renewing)
        except BaseException as error:
            if deadline.expired():
                raise LeaseLost(name) from error
            await self._end_in(name, 0.0)
            raise
        await self._end_in(name, afterwards)

    async def _renew(self, name: str, deadline: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._sleep(self._seconds / 3)
            asked_at = loop.time()
            try:
                is_held = await self.extend(name, self._seconds)
            except DatabaseUnavailable:
                continue
            deadline.reschedule(asked_at + self._seconds if is_held else asked_at)

    async def _end_in(self, name: str, seconds: float) -> None:
        # Without an answer it ends by itself. A process that stops does not wait for a database that is unavailable.
        with suppress(DatabaseUnavailable, SchemaOutdated, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.extend(name, seconds)

    # A process that is suspended inside the transaction loses its connection: the others must not wait for it.
    _LIMIT_PAUSES = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)"
    _LOCK = """
        SELECT name FROM authmint.leases WHERE name = $1 AND holder = $2 AND expires_at > clock_timestamp() FOR SHARE
    """

    @asynccontextmanager
    async def transaction(self, name: str) -> AsyncIterator[Connection]:
        """Provide a transaction during which no other process can take the lease. Raise LeaseLost if another has it."""
        async with self._database.transaction() as connection:
            await connection.fetchval(self._LIMIT_PAUSES, f"{self._seconds * 1000:.0f}")
            if await connection.fetchval(self._LOCK, name, self.holder) is None:
                raise LeaseLost(name)
            yield connection


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
