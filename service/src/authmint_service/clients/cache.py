"""Clients in memory, so that a token for a service costs no statement.

A client bears the n that the statement which loaded it saw, and is used while the change feed knows of no later change of it.
Unknown client ids are cached too, and the cache is bounded.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from authmint_service.change_feed import MAX_OUTAGE_SECONDS, ChangeFeed, ChangeKind
from authmint_service.clients.client import Client
from authmint_service.clients.store import ClientStore, CookieOrigins, LoadedClient
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

MAX_CACHED = 4096
# Looked up in the class it would cost a fifth of `find`.
CLIENT = ChangeKind.CLIENT


class ClientCache:
    """Find clients, and read from the store only what is not cached or was changed."""

    def __init__(self, store: ClientStore, feed: ChangeFeed, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch, by the database's clock."""
        self._store, self._feed, self._clock = store, feed, clock
        self._cached: dict[str, LoadedClient] = {}
        self._origins: CookieOrigins | None = None
        self._origins_lock = asyncio.Lock()

    async def find(self, client_id: str) -> Client | None:
        """Return the client as it was at the last reading of the change feed, or later. Raise DatabaseUnavailable.

        While the database does not answer, a cached client is returned for MAX_OUTAGE_SECONDS: a token for a service needs
        nothing else, and whatever else a client asks for needs the database itself.
        """
        cached = self._cached.get(client_id)
        if cached is not None and self._feed.allows(CLIENT, client_id, cached.n) and not self._has_ended(cached):
            return cached.client
        if not self._feed.is_fresh:
            try:
                await self._feed.read()
            except (DatabaseUnavailable, SchemaOutdated):
                if cached is None or not self._feed.age < MAX_OUTAGE_SECONDS or not self._is_current(client_id, cached):
                    raise
                return cached.client
        if self._feed.problem is not None:
            raise DatabaseUnavailable("the database has an older state than this process")
        if cached is not None and self._is_current(client_id, cached):
            return cached.client
        return (await self._load(client_id)).client

    def is_current(self, client: Client) -> bool:
        """Return whether the change feed knows of no change since this client was found."""
        cached = self._cached.get(client.client_id)
        return cached is not None and cached.client is client and self._is_current(client.client_id, cached)

    def _is_current(self, client_id: str, cached: LoadedClient) -> bool:
        return self._feed.is_current(CLIENT, client_id, cached.n) and not self._has_ended(cached)

    def _has_ended(self, cached: LoadedClient) -> bool:
        return cached.secret_expires_at is not None and self._clock() >= cached.secret_expires_at

    async def _load(self, client_id: str) -> LoadedClient:
        loaded = await self._store.load(client_id)
        self._feed.observe(loaded.n)
        self._cached.pop(client_id, None)
        if len(self._cached) >= MAX_CACHED:
            del self._cached[next(iter(self._cached))]
        self._cached[client_id] = loaded
        return loaded

    async def cookie_origins(self) -> frozenset[str]:
        """Return the origins of all clients with a refresh cookie; while the database is unavailable, the last known ones.

        They decide only which page may read a response. The endpoints check the origins of the request's client.
        """
        if self._needs_origins():
            with suppress(DatabaseUnavailable, SchemaOutdated):
                if not self._feed.is_fresh:
                    # One question for all who wait, so that they do not wait for the same database one after another.
                    await self._feed.read()
                async with self._origins_lock:
                    if self._needs_origins():
                        self._origins = await self._store.cookie_origins()
                        self._feed.observe(self._origins.n)
        return frozenset() if self._origins is None else self._origins.origins

    def _needs_origins(self) -> bool:
        return self._origins is None or not self._feed.is_kind_current(ChangeKind.ORIGINS, self._origins.n)
