"""Which sessions depend on which refresh-token key. A command asks it, so the table is walked in batches, without an index."""

from collections import Counter
from collections.abc import Mapping

from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor
from authmint_service.sessions.session import EndCause

BATCH = 5_000


class SessionKeyUsage:
    """Counts live sessions by the key of their refresh tokens, and revokes those of one key. Each step is one statement."""

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        """`batch`: rows that one statement reads."""
        self._database, self._batch = database, batch

    _COUNT = """
        WITH walked AS (SELECT handle, refresh_key_id,
                               revoked_at IS NULL AND idle_expires_at > $2 AND expires_at > $2 AS is_live
                          FROM authmint.sessions WHERE handle > $1 ORDER BY handle LIMIT $3),
             last AS (SELECT handle FROM walked ORDER BY handle DESC LIMIT 1)
        SELECT (SELECT handle FROM last) AS last, refresh_key_id, count(*) FILTER (WHERE is_live) AS live
          FROM walked GROUP BY refresh_key_id
    """

    async def count(self, now: float) -> Mapping[int | None, int]:
        """Return the number of live sessions by key id. `now`: seconds since the epoch.

        None is for sessions that began before their key was noted, and were not refreshed since.
        """
        found: Counter[int | None] = Counter()
        walked = b""
        while rows := await self._database.fetch_all(self._COUNT, walked, to_datetime(now), self._batch):
            found.update({row["refresh_key_id"]: row["live"] for row in rows})
            walked = rows[0]["last"]
        return +found

    _REVOKE = """
        WITH walked AS (SELECT handle, refresh_key_id FROM authmint.sessions WHERE handle > $1 ORDER BY handle LIMIT $2),
             revoked AS (UPDATE authmint.sessions SET revoked_at = $4, end_cause = $5
                          WHERE handle IN (SELECT handle FROM walked WHERE refresh_key_id = $3)
                            AND revoked_at IS NULL AND idle_expires_at > $4 AND expires_at > $4
                         RETURNING handle),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $6, $7, $8, $9, $10, $11, $12::jsonb || jsonb_build_object('count', count(*)), $13, $14, $15, $16
                         FROM revoked
                       HAVING count(*) > 0)
        SELECT (SELECT handle FROM walked ORDER BY handle DESC LIMIT 1) AS last, (SELECT count(*) FROM revoked) AS revoked
    """

    async def revoke(self, key_id: int, now: float, *, actor: Actor) -> int:
        """Revoke the live sessions of one key. Return how many. May be repeated if it fails half-way."""
        event = Event(
            kind=EventKind.SESSIONS_REVOKED, actor=actor, details={"cause": EndCause.KEY_DROPPED.value, "key_id": key_id}
        )
        walked: bytes | None = b""
        revoked = 0
        while walked is not None:
            values = walked, self._batch, key_id, to_datetime(now), EndCause.KEY_DROPPED.value
            row = await self._database.fetch_row(self._REVOKE, *values, *event.values(now))
            walked, more = (None, 0) if row is None else (row["last"], row["revoked"])
            revoked += more
        return revoked
