"""The number of live sessions that an account may have with one client. The oldest goes; no sign-in is refused for it.

Without it, one person who signs in again and again fills the database, and the revocation list when all of that is ended.
"""

from collections.abc import Callable

import structlog

from authmint_service.database import Database, to_datetime
from authmint_service.errors import DatabaseUnavailable
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource
from authmint_service.sessions.session import EndCause

MAX_EVICTED = 100
"""Sessions that one sign-in revokes at most. There are so many only after the setting was made smaller."""

log = structlog.get_logger(__name__)


class SessionLimit:
    """Revokes the sessions of an account and a client that are too many."""

    def __init__(self, database: Database, max_sessions: int, clock: Callable[[], float]) -> None:
        """`max_sessions`: live ones, of one account with one client; `clock`: the one that all processes share."""
        self._database, self._max_sessions, self._clock = database, max_sessions, clock

    # The account is locked only if there is something to revoke. All that locks several sessions of an account locks it first.
    _EVICT = """
        WITH beyond AS MATERIALIZED (
                 SELECT handle FROM authmint.sessions
                  WHERE account_id = $1 AND client_id = $2 AND revoked_at IS NULL AND id <> $3
                    AND idle_expires_at > $4 AND expires_at > $4
                  ORDER BY started_at DESC, id OFFSET $5 LIMIT $6),
             account AS MATERIALIZED (SELECT id FROM authmint.accounts
                                       WHERE id = $1 AND EXISTS (SELECT FROM beyond) FOR NO KEY UPDATE),
             evicted AS (UPDATE authmint.sessions AS s SET revoked_at = $4, end_cause = $7
                           FROM account
                          WHERE s.handle IN (SELECT handle FROM beyond) AND s.account_id = account.id AND s.revoked_at IS NULL
                         RETURNING s.id, s.account_id, s.client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $8, $9, $10, coalesce(account_id, $11), coalesce(client_id, $12), $13,
                              $14::jsonb || jsonb_build_object('sid', id), $15, $16, $17, $18
                         FROM evicted)
        SELECT count(*) FROM evicted
    """

    async def apply(self, started: str, account_id: str, client_id: str, source: RequestSource) -> int:
        """Revoke the oldest sessions beside one that has just been started. Return how many. `started`: its id.

        Sign-ins that run at the same time may leave one session too many each, until the last of them has returned. If the
        database does not answer, the next sign-in revokes them.
        """
        now = self._clock()
        actor = Actor(kind="account", id=account_id, client_id=client_id)
        details = {"cause": EndCause.EVICTED.value}
        event = Event(kind=EventKind.SESSION_REVOKED, actor=actor, source=source, details=details)
        values = (
            account_id, client_id, started, to_datetime(now), self._max_sessions - 1, MAX_EVICTED,
            EndCause.EVICTED.value,
        )  # fmt: skip
        try:
            evicted = int(await self._database.fetch_value(self._EVICT, *values, *event.values(now)))
        except DatabaseUnavailable as error:
            # The sign-in has succeeded.
            log.warning("sessions.not_evicted", sub=account_id, reason=str(error))
            return 0
        if evicted:
            log.info("sessions.evicted", sub=account_id, client_id=client_id, count=evicted)
        return evicted
