"""Takes sessions that are over out of the table, a few at a time, so that it does not grow and nobody waits for it."""

import asyncio
from collections.abc import Callable

import structlog

from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.sessions.store import SessionStore

BATCH, PAUSE_SECONDS, EVERY_SECONDS = 500, 0.05, 3600.0
RETENTION_SECONDS = 86_400.0
"""Ended sessions stay for a day beyond their end, for whoever looks into what happened."""

log = structlog.get_logger(__name__)


async def prune(store: SessionStore, now: float, *, pause: float = PAUSE_SECONDS) -> int:
    """Walks the table once, and deletes what was revoked, idle for too long or too old a day ago. How many sessions."""
    walked: bytes | None = b""
    deleted = 0
    while walked is not None:
        walked, more = await store.prune(now - RETENTION_SECONDS, after=walked, most=BATCH)
        deleted += more
        await asyncio.sleep(pause)
    return deleted


async def prune_forever(store: SessionStore, clock: Callable[[], float]) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            deleted = await prune(store, clock())
        except (DatabaseUnavailable, SchemaOutdated):
            continue
        if deleted:
            log.info("sessions.pruned", count=deleted)
