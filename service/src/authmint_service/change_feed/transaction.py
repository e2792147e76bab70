"""The transaction in which something is changed that processes cache. Such transactions happen one after another.

Each locks the one row of `turn` first, in a statement of its own, so that everything which it reads afterwards is what the last
change has left, and so that no two changes of whatever kinds can wait for each other. It ends soon or is undone: others wait.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import ParamSpec, TypeVar

from authmint_service.change_feed.known import ChangeKind
from authmint_service.database import Connection, Database
from authmint_service.errors import DatabaseUnavailable

MAX_TRANSACTION_SECONDS = 0.5
"""From the turn to the end."""
MAX_ATTEMPTS = 5

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ChangeUndone(DatabaseUnavailable):
    """The transaction ended before its commit, as on a saturated computer: it took too long. Nothing was changed."""


class ChangeTransaction:
    """A transaction that has the turn."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    # The first row gets the greater of the last n + 1 and the clock, the next ones follow. The clock is read once.
    _RECORD = """
        WITH beginning AS MATERIALIZED (
                 SELECT greatest(coalesce(max(n), 0) + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS n
                   FROM authmint.changes)
        INSERT INTO authmint.changes (n, kind, name, takes, recorded_at)
        SELECT beginning.n + changed.position - 1, $1, changed.name, $3, clock_timestamp()
          FROM beginning, unnest($2::text[]) WITH ORDINALITY AS changed (name, position)
    """

    async def record(self, kind: ChangeKind, *names: str, takes: bool) -> None:
        """Insert a change for each name, in the same transaction as what changes. `takes`: whether something is taken away."""
        if names:
            await self.connection.execute(self._RECORD, kind.value, list(names), takes)


# A process that stops between two statements must not keep the turn. PostgreSQL has `transaction_timeout` from version 17 on;
# before, the time-out of each statement and this process's own clock are close to it.
LIMIT_PAUSES = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)"
TAKE_TURN = "SELECT only_row FROM authmint.turn FOR UPDATE"
LIMIT_DURATION = """
    SELECT set_config(name, $1, true) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')
"""


@asynccontextmanager
async def change_transaction(database: Database) -> AsyncIterator[ChangeTransaction]:
    """Begin a transaction, and wait for the turn. Read, check, change and record inside the block.

    Raise ChangeUndone if the block takes more than MAX_TRANSACTION_SECONDS, or loses its connection. All settings are those of
    the transaction alone, as transaction pooling requires.
    """
    limit, was_undone = f"{MAX_TRANSACTION_SECONDS * 1000:.0f}", False
    try:
        async with database.transaction() as connection:
            await connection.fetchval(LIMIT_PAUSES, limit)
            await connection.fetchval(TAKE_TURN)
            try:
                async with asyncio.timeout(MAX_TRANSACTION_SECONDS):
                    await connection.fetchval(LIMIT_DURATION, limit)
                    yield ChangeTransaction(connection)
            except Exception:
                # Before the commit, so whatever the rollback comes to, nothing was changed. The connection of a process that
                # has stopped for too long was closed by the database.
                was_undone = True
                raise
    except DatabaseUnavailable as error:
        if was_undone:
            raise ChangeUndone(str(error)) from error
        raise


def repeat_if_undone(change: Callable[Parameters, Awaitable[Result]]) -> Callable[Parameters, Awaitable[Result]]:
    """Wrap a function that makes one change: when it was undone, it is made again, MAX_ATTEMPTS times in all."""

    @wraps(change)
    async def repeated(*values: Parameters.args, **named: Parameters.kwargs) -> Result:
        for _ in range(MAX_ATTEMPTS - 1):
            with suppress(ChangeUndone):
                return await change(*values, **named)
        return await change(*values, **named)

    return repeated
