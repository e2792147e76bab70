"""Reads from the database what has been revoked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authmint import Principal
from authmint.revoked_entries import BELOW_SECONDS, ENTRY_BYTES, Below, Packs, RevokedEntries, entry_of
from authmint_service.change_feed import ChangeKind
from authmint_service.database import Database, Record, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

SLICE_SECONDS = 10
"""Entries are grouped by the time at which they were written, in slices of this many seconds since the epoch."""
MAX_TOKEN_SECONDS = 3600
"""The longest life of an access token: a constant, never today's settings."""
MAX_LEEWAY_SECONDS = 300
"""For which a resource server may accept an expired token, at most."""
FIRST_READ_SECONDS = 30.0
"""For the first reading of a process: with a million entries it takes some seconds."""
LISTED_AFTER_SECONDS = 1.25
"""The age at which a change is listed: then no process makes a token from a reading before it (0.75 s), and its transaction has
ended (0.5 s). So a client that is refused gets a good token at the first try."""


@dataclass(frozen=True, slots=True)
class RevocationReading:
    """What one statement has read."""

    time: float
    """The database's, before the statement saw any row. Seconds since the epoch."""
    ended: Mapping[int, RevokedEntries]
    """Sessions and tokens, by the slice in which they were revoked."""
    changes: Mapping[int, RevokedEntries]
    """Epochs and keys, likewise."""
    covered: RevokedEntries
    """Sessions and tokens that changes cover which are listed now, and were not at the reading before."""
    listed: int
    """The last change that is listed."""


class RevocationStore:
    """Reads what has been revoked, and revokes single tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # A key waits for nothing: no good token is made with it when it is revoked.
    # `n` is never smaller than its change's time in milliseconds, so the primary key finds the changes of the last seconds.
    _READ = """
        WITH listed AS (
            SELECT coalesce(max(n), 0) AS n FROM authmint.changes
             WHERE recorded_at <= statement_timestamp() - $7 * interval '1 second'),
        ended AS (
            SELECT 'session' AS kind, revoked_at, coalesce(tokens_until, revoked_at + $5 * interval '1 second') AS expires_at,
                   substring(sha256(convert_to(id::text, 'UTF8')) FROM 1 FOR 8) AS entry
              FROM authmint.sessions
             WHERE revoked_at >= $1 AND (covered_by IS NULL OR covered_by > (SELECT n FROM listed))
            UNION ALL
            SELECT 'covered_session', revoked_at, coalesce(tokens_until, revoked_at + $5 * interval '1 second'),
                   substring(sha256(convert_to(id::text, 'UTF8')) FROM 1 FOR 8)
              FROM authmint.sessions
             WHERE covered_by > $8::bigint AND covered_by <= (SELECT n FROM listed)
            UNION ALL
            SELECT 'token', revoked_at, expires_at, entry FROM authmint.revoked_tokens
             WHERE revoked_at >= $1 AND (covered_by IS NULL OR covered_by > (SELECT n FROM listed))
            UNION ALL
            SELECT 'covered_token', revoked_at, expires_at, entry FROM authmint.revoked_tokens
             WHERE covered_by > $8::bigint AND covered_by <= (SELECT n FROM listed)),
        entries AS (
            SELECT kind,
                   CASE WHEN kind LIKE 'covered%' THEN 0
                        ELSE greatest(floor(extract(epoch FROM revoked_at) / $2), $3) END::bigint AS slice,
                   ceil((extract(epoch FROM expires_at) + $6) / 60)::bigint AS minute, entry
              FROM ended)
        SELECT 'time' AS kind, 0::bigint AS slice, 0::bigint AS minute, ''::bytea AS pack, '' AS name,
               (SELECT n FROM listed) AS n, extract(epoch FROM statement_timestamp())::float8 AS time
        UNION ALL
        SELECT kind, slice, minute, string_agg(DISTINCT entry, ''::bytea ORDER BY entry), '', 0, 0
          FROM entries GROUP BY kind, slice, minute
        UNION ALL
        SELECT kind, floor(extract(epoch FROM recorded_at) / $2)::bigint AS slice, 0, '', name, max(n), 0
          FROM authmint.changes
         WHERE takes AND kind IN ('account', 'all', 'client', 'scope', 'signing_key')
           AND recorded_at > statement_timestamp() - $4 * interval '1 second'
           AND (kind = 'signing_key' OR recorded_at <= statement_timestamp() - $7 * interval '1 second')
           AND n > extract(epoch FROM statement_timestamp()) * 1000 - ($4 + 1) * 1000
         GROUP BY kind, name, slice
    """

    async def read(self, *, since: float, seconds: float, listed: int) -> RevocationReading:
        """Return what was revoked after `since`, seconds since the epoch, and what was changed in the last `seconds`.

        It begins with a whole slice, so that a slice without anything new is equal to what was read before. `listed`: of the
        reading before.
        """
        begin = since // SLICE_SECONDS * SLICE_SECONDS
        return _reading(await self._database.fetch_all(self._READ, *_read_values(begin, seconds, begin), listed))

    async def read_all(self, *, since: float, recent_since: float) -> RevocationReading:
        """Do the same for the first time, which may take longer. What is older than `recent_since` is in one slice."""
        values = _read_values(since, BELOW_SECONDS, recent_since)
        async with self._database.transaction() as connection:
            return _reading(await connection.fetch(self._READ, *values, None, timeout=FIRST_READ_SECONDS))

    _REVOKE_ONE = """
        WITH revoked AS (INSERT INTO authmint.revoked_tokens (entry, expires_at, revoked_at, client_id)
                         VALUES ($1, $2, $3, $8)
                         ON CONFLICT (entry) DO NOTHING
                         RETURNING entry),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM revoked)
        SELECT entry FROM revoked
    """

    async def revoke_token(self, token: Principal, now: float, *, actor: Actor, source: RequestSource) -> bool:
        """Revoke one access token (RFC 7009). Return whether it was not revoked before. `now`: seconds since the epoch."""
        event = Event(
            kind=EventKind.TOKEN_REVOKED, actor=actor, source=source, client_id=token.client_id,
            details={"jti": token.claims["jti"]},
        )  # fmt: skip
        values = _entry(token), to_datetime(token.expires_at), to_datetime(now)
        return await self._database.fetch_value(self._REVOKE_ONE, *values, *event.values(now)) is not None

    _IS_REVOKED = "SELECT EXISTS (SELECT FROM authmint.revoked_tokens WHERE entry = $1)"

    async def is_token_revoked(self, token: Principal) -> bool:
        """Return whether this very token was revoked, by itself and not with a session or by its epoch."""
        return await self._database.fetch_value(self._IS_REVOKED, _entry(token)) is True


def _read_values(since: float, seconds: float, recent_since: float) -> tuple[object, ...]:
    first_slice = recent_since // SLICE_SECONDS
    lives = MAX_TOKEN_SECONDS, MAX_LEEWAY_SECONDS
    return to_datetime(since), SLICE_SECONDS, first_slice, seconds, *lives, LISTED_AFTER_SECONDS


def _reading(rows: Sequence[Record]) -> RevocationReading:
    packs: dict[int, dict[str, dict[int, bytes]]] = {}
    changes: dict[int, _Changes] = {}
    covered: dict[str, dict[int, bytes]] = {}
    time, last = 0.0, 0
    for row in rows:
        if row["kind"] == "time":
            time, last = row["time"], row["n"]
        elif row["kind"].startswith("covered_"):
            covered.setdefault(row["kind"].removeprefix("covered_"), {})[row["minute"]] = row["pack"]
        elif row["minute"]:
            packs.setdefault(row["slice"], {}).setdefault(row["kind"], {})[row["minute"]] = row["pack"]
        else:
            changes.setdefault(row["slice"], _Changes()).add(row)
    return RevocationReading(
        time,
        {slice_: _ended(kinds) for slice_, kinds in packs.items()},
        {slice_: found.entries() for slice_, found in changes.items()},
        _ended(covered),
        last,
    )


def _entry(token: Principal) -> bytes:
    return entry_of(token.claims["jti"]).to_bytes(ENTRY_BYTES, "big")


def _ended(kinds: Mapping[str, Mapping[int, bytes]]) -> RevokedEntries:
    return RevokedEntries(Packs.of_bytes(kinds.get("session", {})), Packs.of_bytes(kinds.get("token", {})))


class _Changes:
    """Collects the changes of one slice."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {kind: {} for kind in ChangeKind}

    def add(self, row: Record) -> None:
        self._names[row["kind"]][row["name"]] = row["n"]

    def entries(self) -> RevokedEntries:
        found = self._names
        below = Below(
            found[ChangeKind.ACCOUNT],
            found[ChangeKind.CLIENT],
            found[ChangeKind.SCOPE],
            max(found[ChangeKind.ALL].values(), default=None),
        )
        return RevokedEntries(below=below, keys=frozenset(found[ChangeKind.SIGNING_KEY]))
