"""Rotations in the database. Each rotation and each revocation writes the session's row, so PostgreSQL orders them."""

from dataclasses import dataclass
from datetime import datetime

from authmint_service.change_feed import EpochReading
from authmint_service.database import Database, Record, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.sessions.refresh_token import RefreshToken
from authmint_service.sessions.rotation_rules import MAX_GENERATIONS_ELSEWHERE, MAX_LATE_REPEATS, Repeats
from authmint_service.sessions.session import RefreshRequest, Session, SessionLifetimes, SessionReading
from authmint_service.sessions.store import read_session


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session's row, read when a rotation changed nothing."""

    session: Session
    reading: EpochReading
    generation: int
    rotated_at: float
    grace: int
    """Seconds in which the parent of the current token may be presented again."""
    place: bytes | None
    """Where the last rotation came from, as `RotationPlaces` hashes it; None if that was not stored."""
    repeats: Repeats
    is_live: bool
    """Neither revoked nor expired, and both account and client are enabled."""
    has_scopes: bool
    """Whether the client may still have one of its scopes, or it never had any."""
    resources: frozenset[str]
    """What the client may have tokens for now."""


class RotationStore:
    """Rotates sessions, and finds out why one was not rotated. Each method is one statement."""

    def __init__(self, database: Database, lifetimes: SessionLifetimes) -> None:
        self._database, self._lifetimes = database, lifetimes

    # One statement decides: of concurrent requests with one generation, one finds it, and the others find the next.
    # The epoch is a plain sub-select, so it is as old as the rows of account and client, also if the statement waited.
    # Times are numbers, and lists are texts divided by spaces, which no scope and no audience has: that is a tenth of the work
    # that arrays and datetimes are for asyncpg.
    ROTATE = """
        UPDATE authmint.sessions AS s
           SET generation = s.generation + 1, rotated_at = to_timestamp($4), rotation_source = $9, late_repeats = 0,
               idle_expires_at = least(to_timestamp($4 + coalesce(c.session_idle_ttl, $5::int)), s.expires_at),
               tokens_until = greatest(s.tokens_until, to_timestamp($8)), refresh_key_id = $11
          FROM authmint.accounts AS a, authmint.clients AS c
         WHERE s.handle = $1 AND s.generation = $2 AND s.client_id = $3
           AND s.revoked_at IS NULL AND s.idle_expires_at > to_timestamp($4) AND s.expires_at > to_timestamp($4)
           AND s.scopes @> string_to_array($6, ' ')
           AND a.id = s.account_id AND a.state = 'active' AND c.client_id = s.client_id AND c.enabled
           AND (s.scopes && c.scopes OR s.scopes = '{}')
           AND CASE WHEN $7 = '' THEN s.audiences && (c.resources || string_to_array($10, ' '))
                    ELSE (s.audiences || string_to_array($10, ' ')) @> string_to_array($7, ' ')
                     AND (c.resources || string_to_array($10, ' ')) @> string_to_array($7, ' ') END
        RETURNING s.id, s.account_id, s.client_id, s.scopes, s.audiences,
                  extract(epoch FROM s.started_at)::float8 AS started_at, (SELECT max(n) FROM authmint.changes) AS epoch
    """

    async def rotate(self, token: RefreshToken, request: RefreshRequest, place: bytes, *, now: float) -> SessionReading | None:
        """Advance the session by one generation and return it. Return None, with nothing changed, if `token` is not current.

        Return None as well if the session is not live, or does not permit the request. `place`: where the request comes from.
        """
        row = await self._database.fetch_row(
            self.ROTATE, token.handle, token.generation, request.client_id, now, self._lifetimes.idle,
            " ".join(request.scopes), " ".join(request.audiences), now + self._lifetimes.access_token, place,
            " ".join(request.issuer_audience), token.key_id,
        )  # fmt: skip
        return None if row is None else SessionReading(read_session(row), _reading(row, now))

    _EXTEND = """
        UPDATE authmint.sessions SET tokens_until = greatest(tokens_until, $2) WHERE handle = $1 AND revoked_at IS NULL
        RETURNING id
    """

    async def extend(self, handle: bytes, now: float) -> bool:
        """Note that one more access token is issued without a rotation. Return False if the session was revoked meanwhile."""
        return await self._database.fetch_value(self._EXTEND, handle, self._tokens_until(now)) is not None

    # As if it had been rotated at the last time at which it can be: the parent stays in its grace period until the child is
    # redeemed. To count back would refuse the child, which a repeated request may have received meanwhile.
    _RESTORE_PARENT = """
        UPDATE authmint.sessions SET rotated_at = idle_expires_at
         WHERE handle = $1 AND generation = $2 AND revoked_at IS NULL
    """

    async def restore_parent(self, token: RefreshToken) -> None:
        """Accept the parent of `token` again, for as long as `token` is current."""
        await self._database.execute(self._RESTORE_PARENT, token.handle, token.generation)

    _FIND = """
        SELECT s.id, s.account_id, s.client_id, s.scopes, s.audiences, s.generation,
               extract(epoch FROM s.started_at)::float8 AS started_at, extract(epoch FROM s.rotated_at)::float8 AS rotated_at,
               coalesce(c.refresh_grace_seconds, $3) AS grace, s.rotation_source, s.late_repeats, s.repeats,
               s.repeated_generation IS NOT DISTINCT FROM s.generation AS is_counted,
               s.scopes && c.scopes OR s.scopes = '{}' AS has_scopes, c.resources,
               s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
               AND a.state = 'active' AND c.enabled AS is_live,
               (SELECT max(n) FROM authmint.changes) AS epoch
          FROM authmint.sessions AS s
          JOIN authmint.accounts AS a ON a.id = s.account_id
          JOIN authmint.clients AS c ON c.client_id = s.client_id
         WHERE s.handle = $1
    """

    async def find(self, handle: bytes, now: float) -> StoredSession | None:
        """Return the session of a handle, None if there is none."""
        row = await self._database.fetch_row(self._FIND, handle, to_datetime(now), self._lifetimes.grace)
        if row is None:
            return None
        return StoredSession(
            session=read_session(row), reading=_reading(row, now), generation=row["generation"],
            rotated_at=row["rotated_at"], grace=row["grace"], place=row["rotation_source"],
            repeats=Repeats(row["late_repeats"], row["repeats"], row["is_counted"]),
            is_live=row["is_live"], has_scopes=row["has_scopes"], resources=frozenset(row["resources"]),
        )  # fmt: skip

    _RECORD_LATE_REPEAT = """
        WITH repeated AS (UPDATE authmint.sessions
                             SET late_repeats = late_repeats + 1, tokens_until = greatest(tokens_until, $4)
                           WHERE handle = $1 AND generation = $2 AND revoked_at IS NULL AND late_repeats < $3
                          RETURNING id, account_id, client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $5, $6, $7, coalesce(account_id, $8), coalesce(client_id, $9), $10,
                              $11::jsonb || jsonb_build_object('sid', id), $12, $13, $14, $15
                         FROM repeated)
        SELECT id FROM repeated
    """

    async def record_late_repeat(self, child: RefreshToken, request: RefreshRequest, now: float) -> bool:
        """Count a late repeat of the parent of `child`. Return False, with nothing changed, if `child` is not current any more.

        Return False as well if the session was revoked, or if no more late repeats are permitted.
        """
        event = _repeat_event("late", request)
        values = child.handle, child.generation, MAX_LATE_REPEATS, self._tokens_until(now)
        return await self._database.fetch_value(self._RECORD_LATE_REPEAT, *values, *event.values(now)) is not None

    _RECORD_REPEAT_ELSEWHERE = """
        WITH repeated AS (UPDATE authmint.sessions
                             SET repeats = repeats + 1, repeated_generation = generation,
                                 tokens_until = greatest(tokens_until, $4)
                           WHERE handle = $1 AND generation = $2 AND revoked_at IS NULL AND repeats < $3
                             AND repeated_generation IS DISTINCT FROM generation
                          RETURNING id, account_id, client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $5, $6, $7, coalesce(account_id, $8), coalesce(client_id, $9), $10,
                              $11::jsonb || jsonb_build_object('sid', id), $12, $13, $14, $15
                         FROM repeated)
        SELECT id FROM repeated
    """

    async def record_repeat_elsewhere(self, child: RefreshToken, request: RefreshRequest, now: float) -> bool:
        """Count the generation of `child` as one whose parent was repeated from elsewhere.

        Return False, with nothing changed, if `child` is not current any more, if its generation is counted already, if the
        session was revoked, or if one generation more would revoke it.
        """
        event = _repeat_event("elsewhere", request)
        values = child.handle, child.generation, MAX_GENERATIONS_ELSEWHERE - 1, self._tokens_until(now)
        return await self._database.fetch_value(self._RECORD_REPEAT_ELSEWHERE, *values, *event.values(now)) is not None

    def _tokens_until(self, now: float) -> datetime:
        return to_datetime(now + self._lifetimes.access_token)


def _reading(row: Record, now: float) -> EpochReading:
    return EpochReading(row["epoch"] or 0, now)


def _repeat_event(repeat: str, request: RefreshRequest) -> Event:
    kind = EventKind.REFRESH_TOKEN_REPEATED
    return Event(kind=kind, actor=request.actor, source=request.source, details={"repeat": repeat})
