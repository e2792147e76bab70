"""Clients and their secrets in the database."""

from collections.abc import Sequence

from authmint_service.clients.client import Client
from authmint_service.database import Database, Record, to_datetime
from authmint_service.errors import AlreadyExists
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource


class ClientStore:
    """Find, add, list, disable and enable clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND = """
        SELECT c.client_id, c.subject, c.name, c.confidential, c.grants, c.scopes, c.resources, c.default_resources, c.enabled,
               c.refresh_grace_seconds, c.session_idle_ttl, c.session_ttl, c.refresh_cookie, c.origins, secrets.hashes
          FROM authmint.clients AS c
         CROSS JOIN LATERAL (SELECT coalesce(array_agg(s.hash ORDER BY s.created_at, s.id), '{}') AS hashes
                               FROM authmint.client_secrets AS s
                              WHERE s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets
         WHERE c.client_id = $1
    """

    async def find(self, client_id: str) -> Client | None:
        """Return the client with its live secrets."""
        row = await self._database.fetch_row(self._FIND, client_id)
        return None if row is None else _client(row)

    _INSERT = """
        WITH client AS (INSERT INTO authmint.clients (client_id, subject, name, confidential, grants, scopes, resources,
                                                      default_resources, enabled, created_at, refresh_grace_seconds,
                                                      session_idle_ttl, session_ttl, refresh_cookie, origins)
                        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
                        ON CONFLICT (client_id) DO NOTHING
                        RETURNING client_id, created_at),
             secret AS (INSERT INTO authmint.client_secrets (client_id, hash, created_at)
                        SELECT client_id, unnest($16::bytea[]), created_at FROM client),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $17, $18, $19, $20, coalesce(client_id, $21), $22, $23, $24, $25, $26, $27 FROM client)
        SELECT client_id FROM client
    """

    async def add(self, client: Client, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
        """Add a client with its secrets. `now`: seconds since the epoch. Raise AlreadyExists."""
        details = {
            "confidential": client.confidential, "grants": sorted(client.grants), "scopes": sorted(client.scopes),
            "resources": list(client.resources),
        }  # fmt: skip
        event = Event(kind=EventKind.CLIENT_CREATED, actor=actor, source=source, client_id=client.client_id, details=details)
        added = await self._database.fetch_value(
            self._INSERT, client.client_id, client.subject, client.name, client.confidential, sorted(client.grants),
            sorted(client.scopes), list(client.resources), list(client.default_resources), client.enabled, to_datetime(now),
            client.refresh_grace_seconds, client.session_idle_ttl, client.session_ttl, client.refresh_cookie,
            list(client.origins), list(client.secret_hashes), *event.values(now),
        )  # fmt: skip
        if added is None:
            raise AlreadyExists(f"A client {client.client_id} exists already.")

    _LIST = """
        SELECT c.client_id, c.subject, c.name, c.confidential, c.grants, c.scopes, c.resources, c.default_resources, c.enabled,
               c.refresh_grace_seconds, c.session_idle_ttl, c.session_ttl, c.refresh_cookie, c.origins, secrets.hashes
          FROM authmint.clients AS c
         CROSS JOIN LATERAL (SELECT coalesce(array_agg(s.hash ORDER BY s.created_at, s.id), '{}') AS hashes
                               FROM authmint.client_secrets AS s
                              WHERE s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets
         ORDER BY c.client_id
    """

    async def list(self) -> Sequence[Client]:
        """Return all clients in the order of their ids."""
        return [_client(row) for row in await self._database.fetch_all(self._LIST)]

    _ENABLE = """
        WITH enabled AS (UPDATE authmint.clients SET enabled = true WHERE client_id = $1 RETURNING client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, coalesce(client_id, $6), $7, $8, $9, $10, $11, $12 FROM enabled)
        SELECT client_id FROM enabled
    """

    async def enable(self, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> bool:
        """Allow a client to get tokens again. Revoked sessions stay revoked. Return whether there is such a client."""
        event = Event(kind=EventKind.CLIENT_ENABLED, actor=actor, source=source, client_id=client_id)
        return await self._database.fetch_value(self._ENABLE, client_id, *event.values(now)) is not None

    _DISABLE = """
        WITH disabled AS (UPDATE authmint.clients SET enabled = false, tokens_not_before = $2 WHERE client_id = $1
                          RETURNING client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $3, $4, $5, $6, coalesce(client_id, $7), $8, $9, $10, $11, $12, $13 FROM disabled)
        SELECT client_id FROM disabled
    """
    _REVOKE_SESSIONS = """
        UPDATE authmint.sessions SET revoked_at = $2, end_cause = 'client_disabled'
         WHERE client_id = $1 AND revoked_at IS NULL
    """

    async def disable(self, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> bool:
        """Disable a client. It gets no token, and has no live session once this returns. `now`: seconds since the epoch.

        Return whether there is such a client.
        """
        event = Event(kind=EventKind.CLIENT_DISABLED, actor=actor, source=source, client_id=client_id)
        async with self._database.transaction() as connection:
            # The client first: a sign-in locks this row until its session exists. The next statement then revokes it.
            if await connection.fetchval(self._DISABLE, client_id, to_datetime(now), *event.values(now)) is None:
                return False
            await connection.execute(self._REVOKE_SESSIONS, client_id, to_datetime(now))
            return True

    _COOKIE_ORIGINS = """
        SELECT DISTINCT unnest(origins) AS origin
          FROM authmint.clients
         WHERE refresh_cookie AND enabled
    """

    async def cookie_origins(self) -> frozenset[str]:
        """Return the web origins of the pages of clients with a refresh cookie."""
        return frozenset(row["origin"] for row in await self._database.fetch_all(self._COOKIE_ORIGINS))


def _client(row: Record) -> Client:
    return Client(
        client_id=row["client_id"],
        subject=str(row["subject"]),
        name=row["name"],
        confidential=row["confidential"],
        secret_hashes=tuple(row["hashes"]),
        grants=frozenset(row["grants"]),
        scopes=frozenset(row["scopes"]),
        resources=tuple(row["resources"]),
        default_resources=tuple(row["default_resources"]),
        enabled=row["enabled"],
        refresh_grace_seconds=row["refresh_grace_seconds"],
        session_idle_ttl=row["session_idle_ttl"],
        session_ttl=row["session_ttl"],
        refresh_cookie=row["refresh_cookie"],
        origins=tuple(row["origins"]),
    )
