"""Clients in the database."""

from collections.abc import Sequence

import asyncpg

from authmint_service.clients.client import Client
from authmint_service.database import Database, to_datetime
from authmint_service.errors import AlreadyExists


class ClientStore:
    """Finds, adds and lists clients, disables and enables them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND = """
        SELECT client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences, default_audiences, enabled,
               refresh_grace_seconds, session_idle_ttl, session_ttl, refresh_cookie, origins
          FROM clients
         WHERE client_id = $1
    """

    async def find(self, client_id: str) -> Client | None:
        row = await self._database.fetch_row(self._FIND, client_id)
        return None if row is None else _client(row)

    _INSERT = """
        INSERT INTO clients (client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences,
                             default_audiences, enabled, created_at, refresh_grace_seconds, session_idle_ttl, session_ttl,
                             refresh_cookie, origins)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT (client_id) DO NOTHING
        RETURNING client_id
    """

    async def add(self, client: Client, now: float) -> None:
        """Raises AlreadyExists. `now`: seconds since the epoch."""
        added = await self._database.fetch_value(
            self._INSERT, client.client_id, client.subject, client.name, client.confidential, list(client.secret_hashes),
            sorted(client.grants), sorted(client.scopes), list(client.audiences), list(client.default_audiences),
            client.enabled, to_datetime(now), client.refresh_grace_seconds, client.session_idle_ttl, client.session_ttl,
            client.refresh_cookie, list(client.origins),
        )  # fmt: skip
        if added is None:
            raise AlreadyExists(f"A client {client.client_id} exists already.")

    _LIST = """
        SELECT client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences, default_audiences, enabled,
               refresh_grace_seconds, session_idle_ttl, session_ttl, refresh_cookie, origins
          FROM clients
         ORDER BY client_id
    """

    async def list(self) -> Sequence[Client]:
        return [_client(row) for row in await self._database.fetch_all(self._LIST)]

    _ENABLE = "UPDATE clients SET enabled = true WHERE client_id = $1 RETURNING client_id"

    async def enable(self, client_id: str) -> bool:
        """It may have tokens again. Sessions that were ended stay ended. Whether there is such a client."""
        return await self._database.fetch_value(self._ENABLE, client_id) is not None

    _DISABLE = "UPDATE clients SET enabled = false, tokens_not_before = $2 WHERE client_id = $1 RETURNING client_id"
    _END_SESSIONS = "UPDATE sessions SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL"

    async def disable(self, client_id: str, now: float) -> bool:
        """No token from now on, and no live session once this returns. `now`: seconds. Whether there is such a client."""
        async with self._database.transaction() as connection:
            # First the client: a session that is being started holds this row until it exists, and is then ended below.
            if await connection.fetchval(self._DISABLE, client_id, to_datetime(now)) is None:
                return False
            await connection.execute(self._END_SESSIONS, client_id, to_datetime(now))
            return True

    _COOKIE_ORIGINS = """
        SELECT DISTINCT unnest(origins) AS origin
          FROM clients
         WHERE refresh_cookie AND enabled
    """

    async def cookie_origins(self) -> frozenset[str]:
        """The origins that pages of clients with a refresh cookie come from."""
        return frozenset(row["origin"] for row in await self._database.fetch_all(self._COOKIE_ORIGINS))


def _client(row: asyncpg.Record) -> Client:
    return Client(
        client_id=row["client_id"],
        subject=str(row["subject"]),
        name=row["name"],
        confidential=row["confidential"],
        secret_hashes=tuple(row["secret_hashes"]),
        grants=frozenset(row["grants"]),
        scopes=frozenset(row["scopes"]),
        audiences=tuple(row["audiences"]),
        default_audiences=tuple(row["default_audiences"]),
        enabled=row["enabled"],
        refresh_grace_seconds=row["refresh_grace_seconds"],
        session_idle_ttl=row["session_idle_ttl"],
        session_ttl=row["session_ttl"],
        refresh_cookie=row["refresh_cookie"],
        origins=tuple(row["origins"]),
    )
