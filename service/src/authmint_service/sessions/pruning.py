"""Deletes expired and revoked sessions in small batches, so that the table does not grow and no request waits."""

import asyncio
from collections.abc import Callable

import structlog

from authmint_service.sessions.store import SessionStore
from authmint_service.tasks import Task

BATCH, PAUSE_SECONDS, EVERY_SECONDS = 500, 0.05, 3600.0
RETENTION_SECONDS = 86_400.0
"""A session that is revoked or has expired stays for a day, so that operators can see what happened."""

log = structlog.get_logger(__name__)


async def prune(store: SessionStore, now: float, *, pause: float = PAUSE_SECONDS) -> int:
    """Walk the table once and delete the sessions that were revoked or had expired a day before `now`.

    `now`: seconds since the epoch; `pause`: seconds between two batches. Return how many were deleted.
    """
    walked: bytes | None = b""
    deleted = 0
    while walked is not None:
        walked, more = await store.prune(now - RETENTION_SECONDS, after=walked, limit=BATCH)
        deleted += more
        await asyncio.sleep(pause)
    return deleted


def pruning_task(store: SessionStore, clock: Callable[[], float]) -> Task:
    """Return the task that prunes once an hour, in one process. Two that prune at the same time would do no harm."""

    async def run() -> None:
        deleted = await prune(store, clock())
        if deleted:
            log.info("sessions.pruned", count=deleted)

    return Task("prune sessions", EVERY_SECONDS, run, alone=True)
