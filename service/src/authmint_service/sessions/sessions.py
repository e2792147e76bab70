"""Starts, refreshes, lists and revokes sessions. Reused refresh tokens are found as RFC 9700, section 4.14, asks."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog

from authmint.errors import InvalidGrant, InvalidScope, InvalidTarget, TemporarilyUnavailable
from authmint.values import value_type
from authmint_service.change_feed import EpochReading
from authmint_service.request_log import current_record
from authmint_service.request_source import Actor, RequestSource
from authmint_service.sessions.refresh_token import RefreshToken, RefreshTokenCodec, UnknownKey
from authmint_service.sessions.rotation_place import RotationPlaces
from authmint_service.sessions.rotation_rules import RotationDecision, decide
from authmint_service.sessions.rotation_store import RotationStore, StoredSession
from authmint_service.sessions.session import EndCause, LiveSession, RefreshRequest, Session, SessionReading
from authmint_service.sessions.session_limit import SessionLimit
from authmint_service.sessions.store import ListPosition, SessionStore, SessionSummary

log = structlog.get_logger(__name__)


class RefreshTokenReused(InvalidGrant):
    """A redeemed refresh token was presented again, so two parties may hold it. The session has been revoked."""

    default_description = "The refresh token is not valid."

    def __init__(self, session: Session, cause: EndCause) -> None:
        super().__init__()
        self.session, self.cause = session, cause


@value_type()
class SessionWithToken:
    """A session, its current refresh token, and the epoch of the access token that goes with it."""

    session: Session
    refresh_token: str
    reading: EpochReading


async def _no_other_process(_: int) -> bool:
    return False


class Sessions:
    """The operations on sessions that grants and endpoints use."""

    def __init__(
        self,
        store: SessionStore,
        rotations: RotationStore,
        codec: RefreshTokenCodec,
        places: RotationPlaces,
        clock: Callable[[], float],
        count: Callable[[str, int], None] = lambda event, number: None,
        is_key_elsewhere: Callable[[int], Awaitable[bool]] = _no_other_process,
        *,
        shared_clock: Callable[[], float] | None = None,
        limit: SessionLimit | None = None,
    ) -> None:
        """`clock`: seconds since the epoch; `count`: receives an event, one of `SESSION_EVENTS`, and a number.

        `is_key_elsewhere`: returns whether another live process has the refresh-token key of an id. `shared_clock`: the one
        that all processes share, for the times of revocations; without it, `clock`.
        """
        self._store, self._rotations, self._codec, self._places = store, rotations, codec, places
        self._clock, self._count, self._is_key_elsewhere = clock, count, is_key_elsewhere
        self._shared_clock, self._limit = shared_clock or clock, limit
        self.newer_than_database: EpochReading | None = None
        """The last reading by which this process found that a refresh token is newer than its session's row."""

    async def start(
        self, *, account_id: str, credentials_version: int, client_id: str, scopes: frozenset[str], audiences: tuple[str, ...],
        source: RequestSource,
    ) -> SessionWithToken:  # fmt: skip
        """Start a session. Raise InvalidGrant if account or client was disabled meanwhile, or the password changed."""
        token, now = self._codec.create(), self._clock()
        session = Session(
            id=str(uuid.uuid4()), account_id=account_id, client_id=client_id, scopes=scopes, audiences=audiences, started_at=now
        )
        epoch = await self._store.start(
            token, session, now, credentials_version=credentials_version, source=source,
            key_fingerprint=self._codec.fingerprint(token.key_id),
        )  # fmt: skip
        if epoch is None:
            raise InvalidGrant
        self._count("started", 1)
        return SessionWithToken(session, self._codec.encode(token), EpochReading(epoch, now))

    async def apply_limit(self, started: str, *, account_id: str, client_id: str, source: RequestSource) -> None:
        """Revoke the oldest sessions of an account with a client if there are too many. `started`: the id of the newest."""
        if self._limit is not None:
            self._count("evicted", await self._limit.apply(started, account_id, client_id, source))

    async def redeem(self, text: str, request: RefreshRequest) -> SessionWithToken:
        """Redeem a refresh token. Return its session and the refresh token that replaces it.

        Raise InvalidGrant for a token that is not valid, RefreshTokenReused if that revoked the session, and InvalidScope or
        InvalidTarget, with nothing changed, for what the session does not have or the client may no longer have.
        """
        token, now = await self._decode(text), self._clock()
        place = self._places.hash(request.source, token.key_id)
        redeemed = await self._rotations.rotate(token, request, place, now=now)
        # A repeat is recorded only if the row is still as it was read. When another request was first, it is read again: each
        # time its generation or its counts are greater, so this ends.
        while redeemed is None:
            stored = await self._rotations.find(token.handle, now)
            redeemed = await self._explain_unrotated(token, stored, request, now)
        self._count("refreshed", 1)
        return SessionWithToken(redeemed.session, self._codec.encode(token.child()), redeemed.reading)

    async def restore_parent(self, text: str) -> None:
        """Undo a rotation of which the client has no response: `text` and the token that it replaced are both good.

        Reuse is still found: once the child is redeemed, the parent revokes the session.
        """
        await self._rotations.restore_parent(self._codec.decode(text))

    async def revoke_by_token(self, text: str, *, client_id: str, actor: Actor, source: RequestSource) -> Session | None:
        """Revoke the session of a refresh token of this client, of any generation (RFC 7009, section 2.1).

        Return the session; None if nothing was revoked. A token whose MAC is wrong never reaches the database.
        """
        try:
            token = await self._decode(text)
        except InvalidGrant:
            return None
        session = await self._store.revoke_by_handle(
            token.handle, self._shared_clock(), client_id=client_id, cause=EndCause.SIGNED_OUT, actor=actor, source=source
        )
        self._count("revoked", session is not None)
        return session

    async def find_redeemable(self, text: str, *, client_id: str) -> StoredSession | None:
        """Return the live session of this client that would redeem `text` now, wherever it comes from; else None.

        The parent of the current token is redeemed within its grace period. After it that depends on the place of the client,
        which only a redemption shows: such a token is not returned.
        """
        try:
            token = await self._decode(text)
        except InvalidGrant:
            return None
        now = self._clock()
        stored = await self._rotations.find(token.handle, now)
        if stored is None or not stored.has_scopes:
            return None
        decision = _decide(token, stored, now, is_own=stored.session.client_id == client_id, is_same_place=True)
        return stored if decision in {RotationDecision.ROTATE, RotationDecision.REPEAT} else None

    async def revoke(
        self, session_id: str, *, account_id: str, cause: EndCause, actor: Actor, source: RequestSource | None
    ) -> bool:
        """Revoke one session of an account. Return whether there was one to revoke."""
        revoked = await self._store.revoke(
            session_id, account_id, self._shared_clock(), cause=cause, actor=actor, source=source
        )
        self._count("revoked", revoked)
        return revoked

    async def find_live(self, session_id: str) -> LiveSession | None:
        """Return the session, None if it was revoked or has expired, or if its account or its client is disabled."""
        return await self._store.find_live(session_id, self._clock())

    async def list_for_account(
        self, account_id: str, *, limit: int, after: ListPosition | None = None
    ) -> Sequence[SessionSummary]:
        """Return live sessions of an account, those that began last first."""
        return await self._store.list(account_id, self._clock(), limit=limit, after=after)

    async def _decode(self, text: str) -> RefreshToken:
        """Decode a refresh token. Raise TemporarilyUnavailable if another process has its key: there it may be valid."""
        try:
            return self._codec.decode(text)
        except UnknownKey as error:
            if await self._is_key_elsewhere(error.key_id):
                raise TemporarilyUnavailable from error
            raise

    async def find(self, text: str) -> tuple[RefreshToken, StoredSession | None]:
        """Return the content of a refresh token of any generation, and its session. Raise InvalidGrant."""
        token = await self._decode(text)
        return token, await self._rotations.find(token.handle, self._clock())

    async def refuse(self, token: RefreshToken, stored: StoredSession, request: RefreshRequest, now: float) -> NoReturn:
        """Refuse a token that is not the current one of its session. Count and revoke as `redeem` does when there is a copy.

        Raise InvalidGrant, and RefreshTokenReused if that revoked the session.
        """
        decision = await self._judge(token, stored, request, now)
        # A copy is told here as well. A lost response is not counted: the client gets no child for it.
        if decision is RotationDecision.REPEAT_ELSEWHERE:
            await self._record_repeat(decision, token.child(), stored, request, now)
        raise InvalidGrant("The refresh token is not valid.")

    async def _explain_unrotated(
        self, token: RefreshToken, stored: StoredSession | None, request: RefreshRequest, now: float
    ) -> SessionReading | None:
        """Return the session if this repeats the last rotation; else raise the reason why it was not rotated.

        Return None if the row was changed after it had been read.
        """
        if stored is None:
            raise InvalidGrant("The refresh token is not valid.")
        decision = await self._judge(token, stored, request, now)
        _check_permitted(stored, request)
        if decision is RotationDecision.ROTATE:
            # The statement rotated nothing, but the session is live now: its account or client was enabled in between.
            raise InvalidGrant("The refresh token is not valid.")
        is_recorded = await self._record_repeat(decision, token.child(), stored, request, now)
        return SessionReading(stored.session, stored.reading) if is_recorded else None

    async def _judge(self, token: RefreshToken, stored: StoredSession, request: RefreshRequest, now: float) -> RotationDecision:
        """Return the decision for a good token. Raise InvalidGrant, and RefreshTokenReused if that revoked the session."""
        session = stored.session
        current_record().add(sub=session.account_id, sid=session.id)
        is_own, is_same_place = session.client_id == request.client_id, self._places.is_same(stored.place, request.source)
        decision = _decide(token, stored, now, is_own=is_own, is_same_place=is_same_place)
        if decision is RotationDecision.REFUSE_NEWER:
            self._note_newer(session, stored.reading)
        if decision in {RotationDecision.REFUSE, RotationDecision.REFUSE_NEWER}:
            raise InvalidGrant("The refresh token is not valid.")
        if cause := _END_CAUSES.get(decision):
            await self._revoke_reused(token, session, request, cause)
        return decision

    async def _record_repeat(
        self, decision: RotationDecision, child: RefreshToken, stored: StoredSession, request: RefreshRequest, now: float
    ) -> bool:
        """Count a repeat. Return False if the row was changed after it had been read, so that it must be read again."""
        session, event = stored.session, _REPEATS[decision]
        if decision is RotationDecision.REPEAT_LATE:
            is_recorded = await self._rotations.record_late_repeat(child, request, now)
        elif decision is RotationDecision.REPEAT_ELSEWHERE and not stored.repeats.is_counted:
            is_recorded = await self._rotations.record_repeat_elsewhere(child, request, now)
        else:
            is_recorded = await self._rotations.extend(child.handle, now)
        if is_recorded:
            self._count(event, 1)
            write = log.warning if decision is RotationDecision.REPEAT_ELSEWHERE else log.info
            write("refresh_token.repeated", reason=event, sub=session.account_id, sid=session.id)
        return is_recorded

    async def _revoke_reused(self, token: RefreshToken, session: Session, request: RefreshRequest, cause: EndCause) -> NoReturn:
        revoked = await self._store.revoke_by_handle(
            token.handle, self._shared_clock(), client_id=request.client_id, cause=cause, actor=request.actor,
            source=request.source,
        )  # fmt: skip
        if revoked is None:
            # Another request was first, and has recorded it.
            raise InvalidGrant("The refresh token is not valid.")
        self._count("reused", 1)
        raise RefreshTokenReused(session, cause)

    def _note_newer(self, session: Session, reading: EpochReading) -> None:
        self.newer_than_database = reading
        self._count("newer_than_database", 1)
        log.error("refresh_token.newer_than_database", sub=session.account_id, sid=session.id)


_END_CAUSES = {
    RotationDecision.REVOKE_REUSED: EndCause.REUSED,
    RotationDecision.REVOKE_REPEATED: EndCause.REPEATED_ELSEWHERE,
}
_REPEATS = {
    RotationDecision.REPEAT: "repeated",
    RotationDecision.REPEAT_ELSEWHERE: "repeated_elsewhere",
    RotationDecision.REPEAT_LATE: "repeated_late",
}
"""How a repeat is counted and logged."""


def _decide(token: RefreshToken, stored: StoredSession, now: float, *, is_own: bool, is_same_place: bool) -> RotationDecision:
    return decide(
        token.generation,
        current=stored.generation,
        is_live=stored.is_live,
        is_own=is_own,
        is_same_place=is_same_place,
        seconds_since_rotation=now - stored.rotated_at,
        grace=stored.grace,
        repeats=stored.repeats,
    )


def _check_permitted(stored: StoredSession, request: RefreshRequest) -> None:
    """Raise InvalidScope or InvalidTarget for what the statement `ROTATE` refuses in a live session."""
    if not stored.session.scopes >= request.scopes:
        raise InvalidScope("The scope is wider than the one that was granted.")
    requested, own = frozenset(request.audiences), frozenset(request.issuer_audience)
    in_session, of_client = own | set(stored.session.audiences), own | stored.resources
    if not in_session >= requested:
        raise InvalidTarget
    if not stored.has_scopes:
        raise InvalidScope("This client may no longer have any of these scopes.")
    if not (requested <= of_client if requested else of_client.intersection(stored.session.audiences)):
        raise InvalidTarget("This client may no longer have tokens for any of these audiences.")
