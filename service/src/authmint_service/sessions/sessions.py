"""Starting a session and redeeming its refresh tokens, with rules for those that are not the current one (RFC 9700, 4.14)."""

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from authmint.errors import InvalidGrant, InvalidScope, InvalidTarget
from authmint_service.request_log import current_record
from authmint_service.sessions.refresh_token import RefreshToken, RefreshTokenCodec
from authmint_service.sessions.rotation_rules import Verdict, decide
from authmint_service.sessions.session import Session
from authmint_service.sessions.store import SessionStore, SessionSummary, StoredSession


class RefreshTokenReused(InvalidGrant):
    """A token that was redeemed before came again: whoever holds the other copy is not the same. The session is over."""

    default_description = "The refresh token is not valid."

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session


@dataclass(frozen=True, slots=True)
class SessionWithToken:
    """A session and the refresh token that is current in it now."""

    session: Session
    refresh_token: str


class Sessions:
    """Sessions as the grants see them."""

    def __init__(
        self,
        store: SessionStore,
        sealer: RefreshTokenCodec,
        clock: Callable[[], float],
        count: Callable[[str, int], None] = lambda event, number: None,
    ) -> None:
        """`clock`: seconds since the epoch; `count`: how many were started, refreshed, ended, or ended because of reuse."""
        self._store, self._sealer, self._clock, self._count = store, sealer, clock, count

    async def start(
        self, *, account_id: str, credentials_version: int, client_id: str, scopes: frozenset[str], audiences: tuple[str, ...],
        ip_address: str | None = None,
    ) -> SessionWithToken:  # fmt: skip
        """A new session. Raises InvalidGrant if its person or client was disabled meanwhile, or the password changed."""
        token = self._sealer.new()
        session = Session(id=str(uuid.uuid4()), account_id=account_id, client_id=client_id, scopes=scopes, audiences=audiences)
        started = await self._store.start(
            token, session, self._clock(), credentials_version=credentials_version, ip_address=ip_address
        )
        if not started:
            raise InvalidGrant
        self._count("started", 1)
        return SessionWithToken(session, self._sealer.seal(token))

    async def redeem(
        self, text: str, *, client_id: str, scopes: Collection[str] = (), audiences: Collection[str] = ()
    ) -> SessionWithToken:
        """The session of a refresh token, and the token that takes its place. Never for more than the session has.

        Raises InvalidGrant for a token that brings nothing, RefreshTokenReused when that ended the session, and InvalidScope or
        InvalidTarget, with nothing changed, when more is asked for than was granted.
        """
        token, now = self._sealer.open(text), self._clock()
        session = await self._store.rotate(token, client_id=client_id, scopes=scopes, audiences=audiences, now=now)
        if session is None:
            stored = await self._store.find(token.handle, now)
            session = await self._why(token, stored, client_id, scopes, audiences, now)
        self._count("refreshed", 1)
        return SessionWithToken(session, self._sealer.seal(token.child()))

    async def revoke(self, text: str, *, client_id: str) -> Session | None:
        """Ends the session of a refresh token of this client, whichever generation it is (RFC 7009, section 2.1).

        None when there was nothing to end. A token without our seal is not asked of the database.
        """
        try:
            token = self._sealer.open(text)
        except InvalidGrant:
            return None
        session = await self._store.revoke(token.handle, self._clock(), client_id=client_id)
        self._count("revoked", session is not None)
        return session

    async def find_current(self, text: str, *, client_id: str) -> StoredSession | None:
        """The live session whose current token this is, if it is this client's."""
        try:
            token = self._sealer.open(text)
        except InvalidGrant:
            return None
        stored = await self._store.find(token.handle, self._clock())
        if stored is None or not stored.is_live or stored.session.client_id != client_id:
            return None
        return stored if stored.generation == token.generation else None

    async def end(self, session_id: str, *, account_id: str) -> bool:
        """Ends one session of a person. Whether there was one."""
        ended = await self._store.end(session_id, account_id, self._clock())
        self._count("revoked", ended)
        return ended

    async def end_others(self, account_id: str, *, kept: str | None) -> None:
        """Ends all sessions of a person but one; None: all."""
        self._count("revoked", await self._store.end_others(account_id, kept, self._clock()))

    async def is_live(self, session_id: str) -> bool:
        """Whether it has not ended, in whatever way."""
        return await self._store.is_live(session_id, self._clock())

    async def of(self, account_id: str) -> Sequence[SessionSummary]:
        """The live sessions of a person, the one used last first."""
        return await self._store.list(account_id, self._clock())

    async def _why(
        self, token: RefreshToken, stored: StoredSession | None, client_id: str,
        scopes: Collection[str], audiences: Collection[str], now: float,
    ) -> Session:  # fmt: skip
        """The session after all, when this is a retry of the last rotation; else the reason why not."""
        if stored is not None:
            current_record().add(sub=stored.session.account_id, sid=stored.session.id)
        verdict = Verdict.REFUSE if stored is None else self._decide(token, stored, client_id, now)
        if stored is None or verdict is Verdict.REFUSE:
            raise InvalidGrant("The refresh token is not valid.")
        if verdict is Verdict.REVOKE:
            await self._store.revoke(token.handle, now, client_id=client_id)
            self._count("reused", 1)
            raise RefreshTokenReused(stored.session)
        if not stored.session.scopes.issuperset(scopes):
            raise InvalidScope("The scope is wider than the one that was granted.")
        if not set(stored.session.audiences).issuperset(audiences):
            raise InvalidTarget
        if verdict is Verdict.ROTATE:
            # The statement found nothing to rotate, and now there is: its person or client was enabled in between.
            raise InvalidGrant("The refresh token is not valid.")
        return stored.session

    def _decide(self, token: RefreshToken, stored: StoredSession, client_id: str, now: float) -> Verdict:
        return decide(
            token.generation,
            current=stored.generation,
            is_live=stored.is_live,
            is_own=stored.session.client_id == client_id,
            seconds_since_rotation=now - stored.rotated_at,
            grace=stored.grace,
        )
