"""Clients and their secrets in the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.clients.client import Client
from authmint_service.database import Database, Record, to_datetime
from authmint_service.errors import AlreadyExists
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

BATCH = 5000
"""Sessions that one statement revokes."""


@dataclass(frozen=True, slots=True)
class LoadedClient:
    """A client, or None if there is none, as one statement saw it."""

    client: Client | None
    n: int
    """The authorization version that the statement saw."""
    secret_expires_at: float | None
    """When the first of its live secrets expires, in seconds since the epoch; None if none does."""


@dataclass(frozen=True, slots=True)
class CookieOrigins:
    """The web origins of the pages of clients with a refresh cookie, as one statement saw them."""

    origins: frozenset[str]
    n: int
    """The authorization version that the statement saw."""


class ClientStore:
    """Find, add, list, disable, enable and delete clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _LOAD = """
        SELECT seen.n, c.client_id, c.subject, c.name, c.confidential, c.grants, c.scopes, c.resources, c.default_resources,
               c.enabled, c.refresh_grace_seconds, c.session_idle_ttl, c.session_ttl, c.refresh_cookie, c.origins,
               secrets.hashes, secrets.expires_at
          FROM (SELECT coalesce(max(n), 0) AS n FROM authmint.changes) AS seen
          LEFT JOIN authmint.clients AS c ON c.client_id = $1 AND c.deleted_at IS NULL
         CROSS JOIN LATERAL (SELECT coalesce(array_agg(s.hash ORDER BY s.created_at, s.id), '{}') AS hashes,
                                    extract(epoch FROM min(s.expires_at))::float8 AS expires_at
                               FROM authmint.client_secrets AS s
                              WHERE s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets
    """

    async def load(self, client_id: str) -> LoadedClient:
        """Return the client with its live secrets, and what a cache must know of it."""
        row = await self._database.fetch_row(self._LOAD, client_id)
        assert row is not None, "an aggregate has one row"
        client = None if row["client_id"] is None else read_client(row)
        return LoadedClient(client, row["n"], row["expires_at"])

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

    _IS_DELETED = "SELECT deleted_at IS NOT NULL FROM authmint.clients WHERE client_id = $1"

    @repeat_if_undone
    async def add(self, client: Client, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
        """Add a client with its secrets. `now`: seconds since the epoch. Raise AlreadyExists."""
        details = {
            "confidential": client.confidential, "grants": sorted(client.grants), "scopes": sorted(client.scopes),
            "resources": list(client.resources),
        }  # fmt: skip
        event = Event(kind=EventKind.CLIENT_CREATED, actor=actor, source=source, client_id=client.client_id, details=details)
        values = (
            client.client_id, client.subject, client.name, client.confidential, sorted(client.grants), sorted(client.scopes),
            list(client.resources), list(client.default_resources), client.enabled, to_datetime(now),
            client.refresh_grace_seconds, client.session_idle_ttl, client.session_ttl, client.refresh_cookie,
            list(client.origins), list(client.secret_hashes), *event.values(now),
        )  # fmt: skip
        async with change_transaction(self._database) as change:
            if await change.connection.fetchval(self._INSERT, *values) is None:
                if await change.connection.fetchval(self._IS_DELETED, client.client_id):
                    raise AlreadyExists("client_id_deleted", field="client_id", client_id=client.client_id)
                raise AlreadyExists("client_id_taken", field="client_id", client_id=client.client_id)
            await change.record(ChangeKind.CLIENT, client.client_id, takes=False)
            if client.refresh_cookie:
                await change.record(ChangeKind.ORIGINS, client.client_id, takes=False)

    _LIST = """
        SELECT c.client_id, c.subject, c.name, c.confidential, c.grants, c.scopes, c.resources, c.default_resources, c.enabled,
               c.refresh_grace_seconds, c.session_idle_ttl, c.session_ttl, c.refresh_cookie, c.origins, secrets.hashes
          FROM authmint.clients AS c
         CROSS JOIN LATERAL (SELECT coalesce(array_agg(s.hash ORDER BY s.created_at, s.id), '{}') AS hashes
                               FROM authmint.client_secrets AS s
                              WHERE s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets
         WHERE c.client_id > $1 AND c.deleted_at IS NULL
         ORDER BY c.client_id LIMIT $2
    """

    async def list(self, *, limit: int, after: str = "") -> Sequence[Client]:
        """Return at most `limit` clients in the order of their ids, those `after` one of them."""
        return [read_client(row) for row in await self._database.fetch_all(self._LIST, after, limit)]

    _ENABLE = """
        WITH before AS (SELECT client_id, enabled,
                               EXISTS (SELECT FROM authmint.client_disablings WHERE client_id = $1) AS pending
                          FROM authmint.clients WHERE client_id = $1 AND deleted_at IS NULL),
             enabled AS (UPDATE authmint.clients AS c SET enabled = true
                           FROM before WHERE c.client_id = before.client_id AND NOT before.pending
                          RETURNING c.client_id, c.refresh_cookie),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, coalesce(client_id, $6), $7, $8, $9, $10, $11, $12
                         FROM enabled JOIN before USING (client_id) WHERE NOT before.enabled)
        SELECT before.pending, enabled.refresh_cookie FROM before LEFT JOIN enabled USING (client_id)
    """

    async def enable(self, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> bool:
        """Allow a client to get tokens again. Revoked sessions stay revoked. `now`: seconds since the epoch.

        Return whether there is such a client.
        """
        event = Event(kind=EventKind.CLIENT_ENABLED, actor=actor, source=source, client_id=client_id)
        while (enabled := await self._enable(client_id, event, now)) is None:
            # It was disabled a moment ago, by this process or another, which may have failed half-way.
            await self._revoke_sessions(client_id, now)
        return enabled

    @repeat_if_undone
    async def _enable(self, client_id: str, event: Event, now: float) -> bool | None:
        """Return whether there is such a client; None, with nothing changed, if its sessions must be revoked first."""
        async with change_transaction(self._database) as change:
            row = await change.connection.fetchrow(self._ENABLE, client_id, *event.values(now))
            if row is None or row["pending"]:
                return False if row is None else None
            await change.record(ChangeKind.CLIENT, client_id, takes=False)
            if row["refresh_cookie"]:
                await change.record(ChangeKind.ORIGINS, client_id, takes=False)
            return True

    _DISABLE = """
        WITH disabled AS (UPDATE authmint.clients SET enabled = false
                           WHERE client_id = $1 AND deleted_at IS NULL
                          RETURNING client_id, refresh_cookie),
             pending AS (INSERT INTO authmint.client_disablings (client_id, id)
                         SELECT client_id, gen_random_uuid() FROM disabled
                             ON CONFLICT (client_id) DO UPDATE SET id = excluded.id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, coalesce(client_id, $6), $7, $8, $9, $10, $11, $12 FROM disabled)
        SELECT refresh_cookie FROM disabled
    """

    async def disable(self, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> bool:
        """Disable a client. It gets no token, and has no live session once this returns. `now`: seconds since the epoch.

        The change makes its access tokens worthless. Return whether there is such a client. If this fails half-way, no session
        can be refreshed, and what is missing is done when it is repeated or the client is enabled.
        """
        event = Event(kind=EventKind.CLIENT_DISABLED, actor=actor, source=source, client_id=client_id)
        if not await self._disable(client_id, event, now):
            return False
        # After the turn: a client may have more sessions than can be written while others wait.
        await self._revoke_sessions(client_id, now)
        return True

    # Its sessions are revoked as those of a disabled client are.
    _DELETE = """
        WITH before AS (SELECT client_id, refresh_cookie FROM authmint.clients WHERE client_id = $1 AND deleted_at IS NULL),
             deleted AS (UPDATE authmint.clients AS c
                            SET enabled = false, deleted_at = $12, name = c.client_id, grants = '{}', scopes = '{}',
                                resources = '{}', default_resources = '{}', origins = '{}', refresh_cookie = false,
                                refresh_grace_seconds = NULL, session_idle_ttl = NULL, session_ttl = NULL
                           FROM before WHERE c.client_id = before.client_id
                          RETURNING c.client_id),
             secrets AS (DELETE FROM authmint.client_secrets WHERE client_id IN (SELECT client_id FROM before)),
             pending AS (INSERT INTO authmint.client_disablings (client_id, id)
                         SELECT client_id, gen_random_uuid() FROM deleted
                             ON CONFLICT (client_id) DO UPDATE SET id = excluded.id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, coalesce(client_id, $6), $7, $8, $9, $10, $11, $12 FROM deleted)
        SELECT refresh_cookie FROM before
    """

    async def delete(self, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> bool:
        """Delete a client and what it has. Its row stays, so that no other client gets its id. `now`: seconds since the epoch.

        It has no live session once this returns, and its access tokens are worthless. Return whether there is such a client.
        If this fails half-way, no session can be refreshed, and what is missing is done when it is repeated.
        """
        event = Event(kind=EventKind.CLIENT_DELETED, actor=actor, source=source, client_id=client_id)
        is_deleted = await self._delete(client_id, event, now)
        await self._revoke_sessions(client_id, now)
        return is_deleted

    _COUNT_SESSIONS = """
        SELECT count(*) FROM authmint.sessions
         WHERE client_id = $1 AND revoked_at IS NULL AND idle_expires_at > $2 AND expires_at > $2
    """

    async def count_sessions(self, client_id: str, now: float) -> int:
        """Return the number of live sessions of a client. `now`: seconds since the epoch."""
        return int(await self._database.fetch_value(self._COUNT_SESSIONS, client_id, to_datetime(now)))

    @repeat_if_undone
    async def _disable(self, client_id: str, event: Event, now: float) -> bool:
        async with change_transaction(self._database) as change:
            # A sign-in locks this row until its session exists; a refresh reads it.
            row = await change.connection.fetchrow(self._DISABLE, client_id, *event.values(now))
            if row is None:
                return False
            await change.record(ChangeKind.CLIENT, client_id, takes=True)
            if row["refresh_cookie"]:
                await change.record(ChangeKind.ORIGINS, client_id, takes=True)
            return True

    @repeat_if_undone
    async def _delete(self, client_id: str, event: Event, now: float) -> bool:
        async with change_transaction(self._database) as change:
            # The same as above holds for the lock.
            row = await change.connection.fetchrow(self._DELETE, client_id, *event.values(now))
            if row is None:
                return False
            await change.record(ChangeKind.CLIENT, client_id, takes=True)
            if row["refresh_cookie"]:
                await change.record(ChangeKind.ORIGINS, client_id, takes=True)
            return True

    _PENDING = "SELECT id FROM authmint.client_disablings WHERE client_id = $1"
    # While the row is there the client stays disabled, so no session begins. The entry of the change covers those there are.
    _REVOKE_SESSIONS = """
        UPDATE authmint.sessions SET revoked_at = $2, end_cause = 'client_disabled',
                                     covered_by = (SELECT max(n) FROM authmint.changes)
         WHERE handle IN (SELECT handle FROM authmint.sessions WHERE client_id = $1 AND revoked_at IS NULL LIMIT $4)
           AND revoked_at IS NULL AND EXISTS (SELECT FROM authmint.client_disablings WHERE client_id = $1 AND id = $3)
        RETURNING 1
    """
    _FINISH = "DELETE FROM authmint.client_disablings WHERE client_id = $1 AND id = $2"

    async def _revoke_sessions(self, client_id: str, now: float) -> None:
        """Revoke the sessions of a client that was disabled, and note that this is done."""
        pending = await self._database.fetch_value(self._PENDING, client_id)
        if pending is None:
            return
        while await self._database.fetch_all(self._REVOKE_SESSIONS, client_id, to_datetime(now), pending, BATCH):
            pass
        await self._database.execute(self._FINISH, client_id, pending)

    _COOKIE_ORIGINS = """
        SELECT coalesce(array_agg(DISTINCT listed.origin), '{}') AS origins,
               (SELECT coalesce(max(n), 0) FROM authmint.changes) AS n
          FROM authmint.clients AS c CROSS JOIN LATERAL unnest(c.origins) AS listed (origin)
         WHERE c.refresh_cookie AND c.enabled
    """

    async def cookie_origins(self) -> CookieOrigins:
        """Return the web origins of the pages of clients with a refresh cookie."""
        row = await self._database.fetch_row(self._COOKIE_ORIGINS)
        assert row is not None, "an aggregate has one row"
        return CookieOrigins(frozenset(row["origins"]), row["n"])


def read_client(row: Record) -> Client:
    """Return the client of a row."""
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
