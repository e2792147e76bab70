"""The secrets of clients: their dates, their replacement without a gap, and when each was used last."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.clients.client import MAX_SECRETS
from authmint_service.database import Database, to_datetime
from authmint_service.errors import DatabaseUnavailable, InvalidValue, SchemaOutdated
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

END_SECONDS = 1.0
MAX_NOTED = 10_000
"""Uses that wait to be written. Beyond it, a use is not noted: the next one is."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What may be shown of a secret: only its hash is stored. Times are seconds since the epoch."""

    id: str
    created_at: float
    expires_at: float | None
    """None: it does not expire."""
    last_used_at: float | None
    """To the minute; None: never."""


class ClientSecretStore:
    """Lists, adds and removes secrets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _LIST = """
        SELECT id, extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM expires_at)::float8 AS expires_at,
               extract(epoch FROM last_used_at)::float8 AS last_used_at
          FROM authmint.client_secrets WHERE client_id = $1 ORDER BY created_at, id
    """

    async def list(self, client_id: str) -> Sequence[ClientSecret]:
        """Return the secrets of a client, also those that have expired, the oldest first."""
        return [ClientSecret(str(row["id"]), *list(row)[1:]) for row in await self._database.fetch_all(self._LIST, client_id)]

    _FIND_CLIENT = """
        SELECT c.confidential, count(s.id) AS live
          FROM authmint.clients AS c
          LEFT JOIN authmint.client_secrets AS s
            ON s.client_id = c.client_id AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
         WHERE c.client_id = $1 AND c.deleted_at IS NULL GROUP BY c.confidential
    """
    _ADD = """
        WITH added AS (INSERT INTO authmint.client_secrets (id, client_id, hash, created_at, expires_at)
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client_id, hash) DO NOTHING RETURNING client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $6, $7, $8, $9, coalesce(client_id, $10), $11, $12, $13, $14, $15, $16 FROM added)
        SELECT client_id FROM added
    """

    @repeat_if_undone
    async def add(
        self, client_id: str, secret_hash: bytes, now: float, *, lifetime: float | None = None, actor: Actor,
        source: RequestSource | None = None,
    ) -> ClientSecret | None:  # fmt: skip
        """Let a client use one more secret. Return None if there is no such client. Raise InvalidValue.

        `secret_hash`: SHA-256; `now`: seconds since the epoch; `lifetime`: seconds, None for a secret that does not expire.
        """
        secret = ClientSecret(str(uuid.uuid4()), now, None if lifetime is None else now + lifetime, None)
        event = Event(
            kind=EventKind.CLIENT_SECRET_ADDED, actor=actor, source=source, client_id=client_id, details={"secret": secret.id}
        )
        expires_at = None if secret.expires_at is None else to_datetime(secret.expires_at)
        async with change_transaction(self._database) as change:
            client = await change.connection.fetchrow(self._FIND_CLIENT, client_id)
            if client is None:
                return None
            if not client["confidential"]:
                raise InvalidValue("secrets_not_public", field="secret")
            if client["live"] >= MAX_SECRETS:
                raise InvalidValue("secrets_full", field="secret", client_id=client_id, maximum=MAX_SECRETS)
            values = secret.id, client_id, secret_hash, to_datetime(now), expires_at
            if await change.connection.fetchval(self._ADD, *values, *event.values(now)) is None:
                raise InvalidValue("secret_known", field="secret")
            await change.record(ChangeKind.CLIENT, client_id, takes=False)
        return secret

    _REMOVE = """
        WITH removed AS (DELETE FROM authmint.client_secrets WHERE client_id = $1 AND id::text = $2 RETURNING client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $3, $4, $5, $6, coalesce(client_id, $7), $8, $9, $10, $11, $12, $13 FROM removed)
        SELECT client_id FROM removed
    """

    @repeat_if_undone
    async def remove(
        self, client_id: str, secret_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
    ) -> bool:
        """Remove a secret. Return whether the client had it. `now`: seconds since the epoch.

        The access tokens that the client was given before are refused, as anyone who knew the secret may have some.
        """
        details = {"secret": secret_id}
        event = Event(kind=EventKind.CLIENT_SECRET_REMOVED, actor=actor, source=source, client_id=client_id, details=details)
        async with change_transaction(self._database) as change:
            if await change.connection.fetchval(self._REMOVE, client_id, secret_id, *event.values(now)) is None:
                return False
            await change.record(ChangeKind.CLIENT, client_id, takes=True)
        return True

    # In the order of the primary key of what is locked: two processes write at the same time.
    _MARK_USED = """
        UPDATE authmint.client_secrets AS s SET last_used_at = used.at
          FROM (SELECT stored.id, noted.at
                  FROM unnest($1::text[], $2::bytea[], $3::timestamptz[]) AS noted (client_id, hash, at)
                  JOIN authmint.client_secrets AS stored ON stored.client_id = noted.client_id AND stored.hash = noted.hash
                 WHERE stored.last_used_at IS NULL OR stored.last_used_at < noted.at
                 ORDER BY stored.id FOR NO KEY UPDATE OF stored) AS used
         WHERE s.id = used.id
    """

    async def mark_used(self, uses: Sequence[tuple[str, bytes, float]]) -> None:
        """Write when secrets were used: client id, SHA-256 and seconds since the epoch of each."""
        ids, hashes, times = [use[0] for use in uses], [use[1] for use in uses], [to_datetime(use[2]) for use in uses]
        await self._database.execute(self._MARK_USED, ids, hashes, times)


class SecretUses:
    """Notes in memory which secrets were used, so that no token costs a statement, and writes it now and then."""

    def __init__(self, store: ClientSecretStore, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch, by the database's clock."""
        self._store, self._clock = store, clock
        self._noted: dict[tuple[str, bytes], float] = {}

    def note(self, client_id: str, secret_hash: bytes) -> None:
        """Note that the client has proved to know this secret just now."""
        key = client_id, secret_hash
        if key in self._noted or len(self._noted) < MAX_NOTED:
            self._noted[key] = self._clock()

    async def write(self) -> None:
        """Write what was noted since the last time. Raise DatabaseUnavailable; what was not written stays noted."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._store.mark_used([(*key, at) for key, at in noted.items()])
        except BaseException:
            self._noted = noted | self._noted
            raise

    async def write_at_stop(self) -> None:
        """Write what was noted, within END_SECONDS. Without a database it is lost."""
        with suppress(DatabaseUnavailable, SchemaOutdated, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.write()
