"""Sessions in the database. Whoever rotates or ends one writes its row, so PostgreSQL puts them in an order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import asyncpg

from authmint_service.database import Database, to_datetime
from authmint_service.sessions.refresh_token import RefreshToken
from authmint_service.sessions.session import EndCause, Limits, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A live session as the person it belongs to sees it. Times are seconds since the epoch."""

    id: str
    client_id: str
    client_name: str
    started_at: float
    last_used_at: float
    expires_at: float
    ip_address: str | None
    """The address of whoever signed in, as this service saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session's row, as the unhappy path needs it."""

    session: Session
    generation: int
    rotated_at: float
    grace: int
    """Seconds in which the token before the current one still brings the current one."""
    is_live: bool
    """Not revoked, not expired, and neither its person nor its client disabled."""


class SessionStore:
    """Starts, rotates, finds, lists and ends sessions; each method is one statement."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database, self._limits = database, limits

    # The locks on the person and the client make whoever disables one of them wait for this row, and then end it.
    _START = """
        WITH account AS (SELECT id FROM authmint.accounts
                          WHERE id = $3 AND state = 'active' AND credentials_version = $10 FOR SHARE),
             client AS (SELECT client_id, coalesce(session_idle_ttl, $8) * interval '1 second' AS idle,
                               coalesce(session_ttl, $9) * interval '1 second' AS absolute
                          FROM authmint.clients WHERE client_id = $4 AND enabled FOR SHARE)
        INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences,
                                       started_at, rotated_at, idle_expires_at, expires_at, ip_address)
        SELECT $1, $2, account.id, client.client_id, $5, $6, $7::timestamptz, $7::timestamptz,
               $7::timestamptz + least(client.idle, client.absolute), $7::timestamptz + client.absolute, $11
          FROM account, client
        RETURNING id
    """

    async def start(
        self, token: RefreshToken, session: Session, now: float, *, credentials_version: int, ip_address: str | None
    ) -> bool:
        """Whether the session now exists: not if its person or client was disabled meanwhile, or the password changed."""
        started = await self._database.fetch_value(
            self._START, token.handle, session.id, session.account_id, session.client_id, sorted(session.scopes),
            list(session.audiences), to_datetime(now), self._limits.idle, self._limits.absolute,
            credentials_version, ip_address,
        )  # fmt: skip
        return started is not None

    # One statement decides: of any number that come with one generation, one finds it, and the others find the next.
    ROTATE = """
        UPDATE authmint.sessions AS s
           SET generation = s.generation + 1, rotated_at = $4,
               idle_expires_at = least($4 + coalesce(c.session_idle_ttl, $5) * interval '1 second', s.expires_at)
          FROM authmint.accounts AS a, authmint.clients AS c
         WHERE s.handle = $1 AND s.generation = $2 AND s.client_id = $3
           AND s.revoked_at IS NULL AND s.idle_expires_at > $4 AND s.expires_at > $4
           AND s.scopes @> $6::text[] AND s.audiences @> $7::text[]
           AND a.id = s.account_id AND a.state = 'active' AND c.client_id = s.client_id AND c.enabled
        RETURNING s.id, s.account_id, s.client_id, s.scopes, s.audiences
    """

    async def rotate(
        self, token: RefreshToken, *, client_id: str, scopes: Collection[str], audiences: Collection[str], now: float
    ) -> Session | None:
        """The session, now one generation on; None, and nothing changed, if `token` is not its current token.

        None as well if the session has ended, or has not all of `scopes` and `audiences`.
        """
        row = await self._database.fetch_row(
            self.ROTATE, token.handle, token.generation, client_id, to_datetime(now), self._limits.idle,
            list(scopes), list(audiences),
        )  # fmt: skip
        return None if row is None else _session(row)

    _FIND = """
        SELECT s.id, s.account_id, s.client_id, s.scopes, s.audiences, s.generation,
               extract(epoch FROM s.rotated_at)::float8 AS rotated_at,
               coalesce(c.refresh_grace_seconds, $3) AS grace,
               s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
               AND a.state = 'active' AND c.enabled AS is_live
          FROM authmint.sessions AS s
          JOIN authmint.accounts AS a ON a.id = s.account_id
          JOIN authmint.clients AS c ON c.client_id = s.client_id
         WHERE s.handle = $1
    """

    async def find(self, handle: bytes, now: float) -> StoredSession | None:
        row = await self._database.fetch_row(self._FIND, handle, to_datetime(now), self._limits.grace)
        if row is None:
            return None
        return StoredSession(
            session=_session(row), generation=row["generation"], rotated_at=row["rotated_at"], grace=row["grace"],
            is_live=row["is_live"],
        )  # fmt: skip

    _REVOKE = """
        UPDATE authmint.sessions SET revoked_at = $2, end_cause = $4
         WHERE handle = $1 AND revoked_at IS NULL AND client_id = $3
        RETURNING id, account_id, client_id, scopes, audiences
    """

    async def revoke(self, handle: bytes, now: float, *, client_id: str, cause: EndCause) -> Session | None:
        """Ends the session if it is this client's: none of its refresh tokens brings anything once this returns.

        The session; None if there was nothing to end.
        """
        row = await self._database.fetch_row(self._REVOKE, handle, to_datetime(now), client_id, cause.value)
        return None if row is None else _session(row)

    _END = """
        UPDATE authmint.sessions SET revoked_at = $3, end_cause = $4
         WHERE id = $1 AND account_id = $2 AND revoked_at IS NULL
        RETURNING id
    """

    async def end(self, session_id: str, account_id: str, now: float, *, cause: EndCause) -> bool:
        """Ends one session of a person. Whether there was one."""
        values = session_id, account_id, to_datetime(now), cause.value
        return await self._database.fetch_value(self._END, *values) is not None

    _END_OTHERS = """
        WITH ended AS (UPDATE authmint.sessions SET revoked_at = $3, end_cause = $4
                        WHERE account_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL
                       RETURNING id)
        SELECT count(*) FROM ended
    """

    async def end_others(self, account_id: str, kept: str | None, now: float, *, cause: EndCause) -> int:
        """Ends all sessions of a person but one; None: all. How many."""
        values = account_id, kept, to_datetime(now), cause.value
        return int(await self._database.fetch_value(self._END_OTHERS, *values))

    _ESTIMATE = "SELECT reltuples::float8 FROM pg_class WHERE oid = to_regclass('authmint.sessions') AND reltuples >= 0"

    async def estimate(self) -> float | None:
        """How many rows there are, as PostgreSQL thought when it last looked; None if it never has. Counts nothing."""
        rows: float | None = await self._database.fetch_value(self._ESTIMATE)
        return rows

    _IS_LIVE = """
        SELECT s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2 AND a.state = 'active' AND c.enabled
          FROM authmint.sessions AS s
          JOIN authmint.accounts AS a ON a.id = s.account_id
          JOIN authmint.clients AS c ON c.client_id = s.client_id
         WHERE s.id = $1
    """

    async def is_live(self, session_id: str, now: float) -> bool:
        """Whether its refresh token would bring anything."""
        return await self._database.fetch_value(self._IS_LIVE, session_id, to_datetime(now)) is True

    _LIST = """
        SELECT s.id, s.client_id, c.name, extract(epoch FROM s.started_at)::float8 AS started_at,
               extract(epoch FROM s.rotated_at)::float8 AS last_used_at,
               extract(epoch FROM s.idle_expires_at)::float8 AS expires_at, s.ip_address
          FROM authmint.sessions AS s JOIN authmint.clients AS c ON c.client_id = s.client_id
         WHERE s.account_id = $1 AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2 AND c.enabled
         ORDER BY s.rotated_at DESC, s.id
    """

    async def list(self, account_id: str, now: float) -> Sequence[SessionSummary]:
        """The live sessions of a person, the one used last first."""
        return [
            SessionSummary(
                id=str(row["id"]), client_id=row["client_id"], client_name=row["name"], started_at=row["started_at"],
                last_used_at=row["last_used_at"], expires_at=row["expires_at"], ip_address=row["ip_address"],
            )
            for row in await self._database.fetch_all(self._LIST, account_id, to_datetime(now))
        ]  # fmt: skip

    # What is over is found by walking the primary key: an index on the times would have to be written by every refresh.
    _PRUNE = """
        WITH walked AS (SELECT handle, idle_expires_at, revoked_at FROM authmint.sessions
                         WHERE handle > $1 ORDER BY handle LIMIT $3),
             deleted AS (DELETE FROM authmint.sessions
                          WHERE handle IN (SELECT handle FROM walked WHERE idle_expires_at < $2 OR revoked_at < $2)
                         RETURNING handle)
        SELECT (SELECT handle FROM walked ORDER BY handle DESC LIMIT 1) AS last, (SELECT count(*) FROM deleted) AS deleted
    """

    async def prune(self, before: float, *, after: bytes, most: int) -> tuple[bytes | None, int]:
        """Looks at `most` sessions with a handle `after` this one, and deletes those that were over `before` (seconds).

        The last handle it looked at, None at the end of the table; and how many were deleted.
        """
        row = await self._database.fetch_row(self._PRUNE, after, to_datetime(before), most)
        return (None, 0) if row is None else (row["last"], row["deleted"])


def _session(row: asyncpg.Record) -> Session:
    return Session(
        id=str(row["id"]),
        account_id=str(row["account_id"]),
        client_id=row["client_id"],
        scopes=frozenset(row["scopes"]),
        audiences=tuple(row["audiences"]),
    )
