"""Clients in memory for a few seconds, so that a token for a service costs no statement.

Another process sees a change after `TTL` seconds at the latest. Unknown client ids are cached too, and the cache is bounded.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from authmint_service.clients.client import Client
from authmint_service.clients.store import ClientStore
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

TTL = 5.0
MAX_CACHED = 4096


class ClientCache:
    """Find clients, and read from the store only what is not cached or no longer fresh."""

    def __init__(self, store: ClientStore, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._clock = store, clock
        self._cached: dict[str, tuple[float, Client | None]] = {}
        self._origins: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._origins_lock = asyncio.Lock()

    async def find(self, client_id: str) -> Client | None:
        """Return the client as it was at most `TTL` seconds ago."""
        now = self._clock()
        fresh_until, client = self._cached.get(client_id, (now, None))
        # A clock that was set back must not keep an entry alive for longer than TTL.
        if now < fresh_until <= now + TTL:
            return client
        client = await self._store.find(client_id)
        self._cached.pop(client_id, None)
        if len(self._cached) >= MAX_CACHED:
            del self._cached[next(iter(self._cached))]
        self._cached[client_id] = (now + TTL, client)
        return client

    async def cookie_origins(self) -> frozenset[str]:
        """Return the origins of all clients with a refresh cookie; while the database is unavailable, the last known ones."""
        async with self._origins_lock:
            now = self._clock()
            fresh_until, origins = self._origins
            if not now < fresh_until <= now + TTL:
                with suppress(DatabaseUnavailable, SchemaOutdated):
                    origins = await self._store.cookie_origins()
                self._origins = (now + TTL, origins)
            return origins
