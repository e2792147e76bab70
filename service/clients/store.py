"""Clients in the database."""

from collections.abc import Sequence

import asyncpg

from service.clients.client import Client
from service.database import Database, moment
from service.errors import AlreadyExists


class ClientStore:
    """Finds, adds and lists clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND = """
        SELECT client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences, default_audiences, enabled,
               refresh_grace, session_idle_ttl, session_ttl, refresh_cookie, origins
          FROM clients
         WHERE client_id = $1
    """

    async def find(self, client_id: str) -> Client | None:
        row = await self._database.fetch_row(self._FIND, client_id)
        return None if row is None else _client(row)

    _INSERT = """
        INSERT INTO clients (client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences,
                             default_audiences, enabled, created_at, refresh_grace, session_idle_ttl, session_ttl,
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
            client.enabled, moment(now), client.refresh_grace, client.session_idle_ttl, client.session_ttl,
            client.refresh_cookie, list(client.origins),
        )  # fmt: skip
        if added is None:
            raise AlreadyExists(f"A client {client.client_id} exists already.")

    _LIST = """
        SELECT client_id, subject, name, confidential, secret_hashes, grants, scopes, audiences, default_audiences, enabled,
               refresh_grace, session_idle_ttl, session_ttl, refresh_cookie, origins
          FROM clients
         ORDER BY client_id
    """

    async def list(self) -> Sequence[Client]:
        return [_client(row) for row in await self._database.fetch_all(self._LIST)]

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
        refresh_grace=row["refresh_grace"],
        session_idle_ttl=row["session_idle_ttl"],
        session_ttl=row["session_ttl"],
        refresh_cookie=row["refresh_cookie"],
        origins=tuple(row["origins"]),
    )
