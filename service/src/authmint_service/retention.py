"""Which rows are deleted when they are old, and the one task that does it, in small batches, so that no request waits.

A table whose rows end at a time has an entry in `RETENTION`, or a reason in `KEPT`. The database's clock decides: a process
whose clock is wrong deletes nothing too early.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from authmint_service.database import Database
from authmint_service.tasks import Task

BATCH, PAUSE_SECONDS, EVERY_SECONDS = 500, 0.05, 600.0
MINUTE, DAY = 60, 86_400
CHANGE_SECONDS = 70 * MINUTE
"""An hour, the longest life of an access token; five minutes of leeway; five for clocks that differ. Never today's settings."""
EVENT_SECONDS = 400 * DAY

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Rows of one table that are deleted at an age."""

    table: str
    column: str
    """The time that the age is counted from."""
    seconds: int
    delete: str
    """A statement that deletes at most $2 rows that are older than $1 seconds, and returns one row for each."""


_DELETE_FREED_NAMES = """
    DELETE FROM authmint.account_names
     WHERE (account_id, prepared) IN (SELECT account_id, prepared FROM authmint.account_names
                                       WHERE freed_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
       AND freed_at < clock_timestamp() - $1 * interval '1 second'
    RETURNING 1
"""

RETENTION = (
    # A name that an account has given up: then others can have it.
    Retention(
        table="account_names",
        column="freed_at",
        seconds=30 * DAY,
        delete=_DELETE_FREED_NAMES,
    ),
    # The newest row stays for ever, so that the greatest number, the authorization version, never falls.
    Retention(
        table="changes",
        column="recorded_at",
        seconds=CHANGE_SECONDS,
        delete="""
            DELETE FROM authmint.changes
             WHERE n IN (SELECT n FROM authmint.changes
                          WHERE recorded_at < clock_timestamp() - $1 * interval '1 second'
                            AND n < (SELECT max(n) FROM authmint.changes)
                          ORDER BY n LIMIT $2)
            RETURNING 1
        """,
    ),
    Retention(
        table="deliveries",
        column="dead_at",
        seconds=30 * DAY,
        delete="""
            DELETE FROM authmint.deliveries
             WHERE id IN (SELECT id FROM authmint.deliveries
                           WHERE dead_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
            RETURNING 1
        """,
    ),
    # An event takes its deliveries with it.
    Retention(
        table="events",
        column="occurred_at",
        seconds=EVENT_SECONDS,
        delete="""
            DELETE FROM authmint.events
             WHERE id IN (SELECT id FROM authmint.events
                           WHERE occurred_at < clock_timestamp() - $1 * interval '1 second'
                           ORDER BY occurred_at LIMIT $2)
            RETURNING 1
        """,
    ),
    # A task that exists no more. The row is locked before its end is compared again, as a process may take the lease meanwhile.
    Retention(
        table="leases",
        column="expires_at",
        seconds=DAY,
        delete="""
            DELETE FROM authmint.leases
             WHERE name IN (SELECT name FROM authmint.leases
                             WHERE expires_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
               AND expires_at < clock_timestamp() - $1 * interval '1 second'
            RETURNING 1
        """,
    ),
    Retention(
        table="one_time_tokens",
        column="expires_at",
        seconds=DAY,
        delete="""
            DELETE FROM authmint.one_time_tokens
             WHERE digest IN (SELECT digest FROM authmint.one_time_tokens
                               WHERE expires_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
               AND expires_at < clock_timestamp() - $1 * interval '1 second'
            RETURNING 1
        """,
    ),
    Retention(
        table="processes",
        column="heartbeat_at",
        seconds=DAY,
        delete="""
            DELETE FROM authmint.processes
             WHERE id IN (SELECT id FROM authmint.processes
                           WHERE heartbeat_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
               AND heartbeat_at < clock_timestamp() - $1 * interval '1 second'
            RETURNING 1
        """,
    ),
    # A resource server accepts no token that expired five minutes ago.
    Retention(
        table="revoked_tokens",
        column="expires_at",
        seconds=10 * MINUTE,
        delete="""
            DELETE FROM authmint.revoked_tokens
             WHERE entry IN (SELECT entry FROM authmint.revoked_tokens
                              WHERE expires_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
            RETURNING 1
        """,
    ),
)

KEPT = {
    "client_secrets": "An operator sees which secrets have expired, and removes them.",
    "sessions": "A walk of the primary key deletes them (sessions/pruning.py): each refresh would write an index on a time.",
}
"""By table: why it has rows that end at a time, and no entry above."""


async def delete_old_rows(
    database: Database,
    retention: Sequence[Retention] = RETENTION,
    *,
    batch: int = BATCH,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> dict[str, int]:
    """Delete the rows that have their age, `batch` at a time. Return how many, by table. Raise what the database raises.

    `pause`: waits for some seconds between two batches.
    """
    deleted: dict[str, int] = {}
    for entry in retention:
        while True:
            count = len(await database.fetch_all(entry.delete, entry.seconds, batch))
            deleted[entry.table] = deleted.get(entry.table, 0) + count
            if count < batch:
                break
            await pause(PAUSE_SECONDS)
    return deleted


def retention_task(database: Database, retention: Sequence[Retention] = RETENTION) -> Task:
    """Return the task that deletes old rows, in one process. Two that do it at the same time would do no harm."""

    async def run() -> None:
        deleted = {table: count for table, count in (await delete_old_rows(database, retention)).items() if count}
        if deleted:
            log.info("rows.deleted", count=sum(deleted.values()), tables=sorted(deleted))

    return Task("delete old rows", EVERY_SECONDS, run, alone=True)
