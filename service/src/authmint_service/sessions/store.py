"""Sessions in the database: their start, their revocation, lists of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authmint_service.database import Database, Record, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource
from authmint_service.sessions.refresh_token import RefreshToken
from authmint_service.sessions.session import EndCause, LiveSession, Session, SessionLifetimes


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A live session as its account sees it. Times are seconds since the epoch."""

    id: str
    client_id: str
    client_name: str
    started_at: float
    last_used_at: float
    expires_at: float
    ip_address: str | None
    """The IP address that the sign-in came from, as this service saw it."""
    repeats_elsewhere: int
    """Generations in which a redeemed refresh token was presented again from elsewhere."""


class ListPosition(Protocol):
    """The place of a session in a list."""

    @property
    def microseconds(self) -> int: ...
    @property
    def id(self) -> str: ...


class SessionStore:
    """Starts, lists, revokes and deletes sessions. Each method is one statement. `RotationStore` rotates them."""

    def __init__(self, database: Database, lifetimes: SessionLifetimes) -> None:
        self._database, self._lifetimes = database, lifetimes

    # The locks on account and client: a transaction that disables one of them waits for this row, and then revokes it.
    _START = """
        WITH account AS (SELECT id FROM authmint.accounts
                          WHERE id = $3 AND state = 'active' AND credentials_version = $10 FOR SHARE),
             client AS (SELECT client_id, coalesce(session_idle_ttl, $8) * interval '1 second' AS idle,
                               coalesce(session_ttl, $9) * interval '1 second' AS absolute
                          FROM authmint.clients WHERE client_id = $4 AND enabled FOR SHARE),
             started AS (INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences,
                                                        started_at, rotated_at, idle_expires_at, expires_at, ip_address,
                                                        tokens_until, refresh_key_id)
                         SELECT $1, $2, account.id, client.client_id, $5, $6, $7::timestamptz, $7::timestamptz,
                                $7::timestamptz + least(client.idle, client.absolute), $7::timestamptz + client.absolute, $11,
                                $23, $24::smallint
                           FROM account, client
                         RETURNING id, account_id, client_id),
             used AS (INSERT INTO authmint.refresh_token_keys (id, first_used_at, fingerprint)
                      SELECT $24, $7::timestamptz, $25 FROM started ON CONFLICT (id) DO NOTHING),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $12, $13, $14, coalesce(account_id, $15), coalesce(client_id, $16), $17, $18, $19, $20, $21, $22
                         FROM started)
        SELECT coalesce((SELECT max(n) FROM authmint.changes), 0) FROM started
    """

    async def start(
        self, token: RefreshToken, session: Session, now: float, *, credentials_version: int, source: RequestSource,
        key_fingerprint: bytes,
    ) -> int | None:  # fmt: skip
        """Insert the session. Return the epoch; None if account or client was disabled meanwhile, or the password changed."""
        actor = Actor(kind="account", id=session.account_id, client_id=session.client_id)
        event = Event(kind=EventKind.SESSION_STARTED, actor=actor, source=source, details={"sid": session.id})
        epoch: int | None = await self._database.fetch_value(
            self._START, token.handle, session.id, session.account_id, session.client_id, sorted(session.scopes),
            list(session.audiences), to_datetime(now), self._lifetimes.idle, self._lifetimes.absolute,
            credentials_version, source.ip_address, *event.values(now), to_datetime(now + self._lifetimes.access_token),
            token.key_id, key_fingerprint,
        )  # fmt: skip
        return epoch

    _REVOKE = """
        WITH revoked AS (UPDATE authmint.sessions SET revoked_at = $2, end_cause = $4
                          WHERE handle = $1 AND revoked_at IS NULL AND client_id = $3
                         RETURNING id, account_id, client_id, scopes, audiences,
                                   extract(epoch FROM started_at)::float8 AS started_at),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $5, $6, $7, coalesce(account_id, $8), coalesce(client_id, $9), $10,
                              $11::jsonb || jsonb_build_object('sid', id), $12, $13, $14, $15
                         FROM revoked)
        SELECT id, account_id, client_id, scopes, audiences, started_at FROM revoked
    """

    async def revoke_by_handle(
        self, handle: bytes, now: float, *, client_id: str, cause: EndCause, actor: Actor, source: RequestSource
    ) -> Session | None:
        """Revoke the session if it is this client's. Once this returns, none of its refresh tokens is valid.

        Return the session; None if nothing was revoked.
        """
        is_reused = cause in {EndCause.REUSED, EndCause.REPEATED_ELSEWHERE}
        kind = EventKind.REFRESH_TOKEN_REUSED if is_reused else EventKind.SESSION_REVOKED
        event = Event(kind=kind, actor=actor, source=source, details={"cause": cause.value})
        values = handle, to_datetime(now), client_id, cause.value
        row = await self._database.fetch_row(self._REVOKE, *values, *event.values(now))
        return None if row is None else read_session(row)

    _REVOKE_BY_ID = """
        WITH revoked AS (UPDATE authmint.sessions SET revoked_at = $3, end_cause = $4
                          WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL
                         RETURNING id, account_id, client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $5, $6, $7, coalesce(account_id, $8), coalesce(client_id, $9), $10,
                              $11::jsonb || jsonb_build_object('sid', id), $12, $13, $14, $15
                         FROM revoked)
        SELECT id FROM revoked
    """

    async def revoke(
        self, session_id: str, account_id: str, now: float, *, cause: EndCause, actor: Actor, source: RequestSource | None
    ) -> bool:
        """Revoke one session of an account. Return whether there was one to revoke."""
        event = Event(kind=EventKind.SESSION_REVOKED, actor=actor, source=source, details={"cause": cause.value})
        values = session_id, account_id, to_datetime(now), cause.value
        return await self._database.fetch_value(self._REVOKE_BY_ID, *values, *event.values(now)) is not None

    _ESTIMATE = "SELECT reltuples::float8 FROM pg_class WHERE oid = to_regclass('authmint.sessions') AND reltuples >= 0"

    async def estimate(self) -> float | None:
        """Return PostgreSQL's last estimate of the number of rows; None if there is none. This counts nothing."""
        rows: float | None = await self._database.fetch_value(self._ESTIMATE)
        return rows

    _FIND_LIVE = """
        SELECT username.prepared AS username
          FROM authmint.sessions AS s
          JOIN authmint.accounts AS a ON a.id = s.account_id
          JOIN authmint.clients AS c ON c.client_id = s.client_id
          LEFT JOIN authmint.account_names AS username
            ON username.account_id = a.id AND username.kind = 'username' AND username.is_primary
         WHERE s.id = $1 AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2 AND a.state = 'active'
           AND c.enabled
    """

    async def find_live(self, session_id: str, now: float) -> LiveSession | None:
        """Return what is said about a session that can be refreshed, None if it cannot be."""
        row = await self._database.fetch_row(self._FIND_LIVE, session_id, to_datetime(now))
        return None if row is None else LiveSession(row["username"])

    # Rounded to the hour, and not in the order of exact times: who holds a copy of a refresh token could see here when its
    # owner refreshes, and follow at once. In the order of their starts, which never changes: else a session that is refreshed
    # between two pages would be on neither.
    _LIST = """
        SELECT s.id, s.client_id, c.name, extract(epoch FROM s.started_at)::float8 AS started_at,
               greatest(floor(extract(epoch FROM least(s.rotated_at, $2)) / 3600) * 3600,
                        extract(epoch FROM s.started_at))::float8 AS last_used_at,
               (ceil(extract(epoch FROM s.idle_expires_at) / 3600) * 3600)::float8 AS expires_at, s.ip_address, s.repeats
          FROM authmint.sessions AS s JOIN authmint.clients AS c ON c.client_id = s.client_id
         WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2 AND c.enabled
           AND ($4::bigint IS NULL OR ((extract(epoch FROM s.started_at) * 1000000)::bigint, s.id) < ($4, $5::uuid))
         ORDER BY s.started_at DESC, s.id DESC LIMIT $3
    """

    async def list(
        self, account_id: str, now: float, *, limit: int, after: ListPosition | None = None
    ) -> Sequence[SessionSummary]:
        """Return live sessions of an account, those that began last first: at most `limit`, `after` a position."""
        position = (None, None) if after is None else (after.microseconds, after.id)
        return [
            SessionSummary(
                id=str(row["id"]), client_id=row["client_id"], client_name=row["name"], started_at=row["started_at"],
                last_used_at=row["last_used_at"], expires_at=row["expires_at"], ip_address=row["ip_address"],
                repeats_elsewhere=row["repeats"],
            )
            for row in await self._database.fetch_all(self._LIST, account_id, to_datetime(now), limit, *position)
        ]  # fmt: skip

    # Old sessions are found by walking the primary key: every refresh would have to write an index on the times.
    _PRUNE = """
        WITH walked AS (SELECT handle, idle_expires_at, revoked_at FROM authmint.sessions
                         WHERE handle > $1 ORDER BY handle LIMIT $3),
             deleted AS (DELETE FROM authmint.sessions
                          WHERE handle IN (SELECT handle FROM walked WHERE idle_expires_at < $2 OR revoked_at < $2)
                         RETURNING handle)
        SELECT (SELECT handle FROM walked ORDER BY handle DESC LIMIT 1) AS last, (SELECT count(*) FROM deleted) AS deleted
    """

    async def prune(self, before: float, *, after: bytes, limit: int) -> tuple[bytes | None, int]:
        """Check the next `limit` sessions by handle, and delete those revoked or expired `before` this time (seconds).

        Return the last handle that was checked, None at the end of the table; and how many were deleted.
        """
        row = await self._database.fetch_row(self._PRUNE, after, to_datetime(before), limit)
        return (None, 0) if row is None else (row["last"], row["deleted"])


def read_session(row: Record) -> Session:
    """Return the session of a row."""
    return Session(
        id=str(row["id"]),
        account_id=str(row["account_id"]),
        client_id=row["client_id"],
        scopes=frozenset(row["scopes"]),
        audiences=tuple(row["audiences"]),
        started_at=row["started_at"],
    )
