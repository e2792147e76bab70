"""Revokes all sessions of an account, or all but one that proves itself with its current refresh token.

The session that proves itself gets a new handle in the statement that revokes the others, and so a new refresh token. Copies of
the old one are worth nothing, and an access token, which may be stolen, keeps no session.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from authmint.errors import InvalidGrant
from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource
from authmint_service.sessions.refresh_token import RefreshToken, RefreshTokenCodec
from authmint_service.sessions.session import EndCause, RefreshRequest
from authmint_service.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionProof:
    """The current refresh token of a live session, and the handle that the session has once the others are revoked."""

    session_id: str
    handle: bytes = field(repr=False)
    generation: int
    new_handle: bytes = field(repr=False)
    refresh_token: str = field(repr=False)
    """The one that the client gets. It is good once the session has the new handle."""


class AccountSessionStore:
    """Revokes several sessions of an account. Each method is one statement.

    Each locks the account first. So of two sessions that revoke each other, one finds itself revoked, and none waits for a row
    that the other has while the other waits for one of its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    _REVOKE_ALL = """
        WITH account AS MATERIALIZED (SELECT id FROM authmint.accounts WHERE id = $1 FOR NO KEY UPDATE),
             revoked AS (UPDATE authmint.sessions AS s SET revoked_at = $2, end_cause = $3
                           FROM account
                          WHERE s.account_id = account.id AND s.revoked_at IS NULL
                         RETURNING s.id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $4, $5, $6, $7, $8, $9, $10::jsonb || jsonb_build_object('count', count(*)), $11, $12, $13, $14
                         FROM revoked
                       HAVING count(*) > 0)
        SELECT count(*) FROM revoked
    """

    async def revoke_all(
        self, account_id: str, now: float, *, cause: EndCause, actor: Actor, source: RequestSource
    ) -> int:  # fmt: skip
        """Revoke all sessions of an account. Return how many."""
        event = _event(account_id, cause, "all", actor, source)
        values = account_id, to_datetime(now), cause.value
        return int(await self._database.fetch_value(self._REVOKE_ALL, *values, *event.values(now)))

    _REVOKE_OTHERS = """
        WITH account AS MATERIALIZED (SELECT id FROM authmint.accounts WHERE id = $1 AND state = 'active' FOR NO KEY UPDATE),
             kept AS (UPDATE authmint.sessions AS s SET handle = $7
                        FROM account, authmint.clients AS c
                       WHERE s.handle = $4 AND s.generation = $5 AND s.id = $6 AND s.account_id = account.id
                         AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
                         AND c.client_id = s.client_id AND c.enabled
                      RETURNING s.id),
             revoked AS (UPDATE authmint.sessions AS s SET revoked_at = $2, end_cause = $3
                           FROM account
                          WHERE s.account_id = account.id AND s.id <> $6 AND s.revoked_at IS NULL
                            AND EXISTS (SELECT FROM kept)
                         RETURNING s.id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $8, $9, $10, $11, $12, $13,
                              $14::jsonb || jsonb_build_object('count', (SELECT count(*) FROM revoked)), $15, $16, $17, $18
                         FROM kept)
        SELECT (SELECT count(*) FROM revoked) FROM kept
    """

    async def revoke_others(
        self, account_id: str, kept: SessionProof, now: float, *, cause: EndCause, actor: Actor, source: RequestSource
    ) -> int | None:
        """Revoke all sessions of an account but one, which gets its new handle. Return how many.

        Return None, with nothing changed, if the proof is not current any more.
        """
        event = _event(account_id, cause, "others", actor, source, sid=kept.session_id)
        values = account_id, to_datetime(now), cause.value, kept.handle, kept.generation, kept.session_id, kept.new_handle
        revoked: int | None = await self._database.fetch_value(self._REVOKE_OTHERS, *values, *event.values(now))
        return revoked


class AccountSessions:
    """The operations on all sessions of an account."""

    def __init__(
        self,
        store: AccountSessionStore,
        sessions: Sessions,
        codec: RefreshTokenCodec,
        clock: Callable[[], float],
        count: Callable[[str, int], None],
    ) -> None:
        """`clock`: seconds since the epoch; `count`: receives an event and a number."""
        self._store, self._sessions, self._codec = store, sessions, codec
        self._clock, self._count = clock, count

    async def prove(self, text: str, session_id: str, request: RefreshRequest) -> SessionProof:
        """Return the proof if `text` is the current refresh token of this very session, presented by its client.

        Raise InvalidGrant otherwise, and RefreshTokenReused if that revoked the session. The parent of the token is no proof,
        not even within the grace period: a thief with a copy of it could throw the owner out.
        """
        token, stored = await self._sessions.find(text)
        if stored is None or stored.session.id != session_id:
            raise InvalidGrant("The refresh token is not valid.")
        is_own = stored.session.client_id == request.client_id
        if not (is_own and stored.is_live and stored.generation == token.generation):
            await self._sessions.refuse(token, stored, request, self._clock())
        # It keeps its key, as a child does, and its generation: no token with the new handle was handed out before.
        renewed = RefreshToken(token.key_id, self._codec.create().handle, token.generation)
        return SessionProof(
            session_id=session_id,
            handle=token.handle,
            generation=token.generation,
            new_handle=renewed.handle,
            refresh_token=self._codec.encode(renewed),
        )

    async def revoke_others(
        self, account_id: str, kept: SessionProof, *, cause: EndCause, actor: Actor, source: RequestSource
    ) -> None:
        """Revoke all sessions of an account but the one that has proved itself. Its refresh token is replaced.

        Raise InvalidGrant, with nothing changed, if it was refreshed or revoked meanwhile.
        """
        revoked = await self._store.revoke_others(account_id, kept, self._clock(), cause=cause, actor=actor, source=source)
        if revoked is None:
            raise InvalidGrant("The refresh token is not valid.")
        self._count("revoked", revoked)

    async def revoke_all(self, account_id: str, *, cause: EndCause, actor: Actor, source: RequestSource) -> None:
        """Revoke all sessions of an account."""
        revoked = await self._store.revoke_all(account_id, self._clock(), cause=cause, actor=actor, source=source)
        self._count("revoked", revoked)


def _event(account_id: str, cause: EndCause, extent: str, actor: Actor, source: RequestSource, **more: str) -> Event:
    details = {"cause": cause.value, "extent": extent, **more}
    return Event(
        kind=EventKind.SESSIONS_REVOKED, actor=actor, source=source, subject=account_id, client_id=actor.client_id,
        details=details,
    )  # fmt: skip
