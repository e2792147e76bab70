"""Clients in memory for a few seconds, so that a machine's token costs no question to the database.

Another process hears of a change after `TTL` at the latest. Unknown names are remembered as well, and both are bounded.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from authmint_service.clients.client import Client
from authmint_service.clients.store import ClientStore
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

TTL = 5.0
MOST = 4096


class ClientCache:
    """Finds clients, asking the store only for what is not known or no longer fresh."""

    def __init__(self, store: ClientStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._known: dict[str, tuple[float, Client | None]] = {}
        self._origins: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._asking_for_origins = asyncio.Lock()

    async def find(self, client_id: str) -> Client | None:
        now = self._clock()
        fresh_until, client = self._known.get(client_id, (now, None))
        # A clock that was set back must not keep an entry alive for longer than TTL.
        if now < fresh_until <= now + TTL:
            return client
        client = await self._store.find(client_id)
        self._known.pop(client_id, None)
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[client_id] = (now + TTL, client)
        return client

    async def cookie_origins(self) -> frozenset[str]:
        """The origins of all clients with a refresh cookie; while the database is away, those that were known last."""
        async with self._asking_for_origins:
            now = self._clock()
            fresh_until, origins = self._origins
            if not now < fresh_until <= now + TTL:
                with suppress(DatabaseUnavailable, SchemaOutdated):
                    origins = await self._store.cookie_origins()
                self._origins = (now + TTL, origins)
            return origins
