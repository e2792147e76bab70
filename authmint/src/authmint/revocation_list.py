"""Follows an issuer's list of what was revoked, so that its access tokens are refused before they expire.

The list is signed with the issuer's keys, asked for in the background, and held in memory: no request waits for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.fetching import TIMEOUT, Answer, FetchError, check_url, fetch
from authmint.jose import Parser, read_payload
from authmint.key_sets import KeySet
from authmint.metadata import discover
from authmint.principal import Principal

log = logging.getLogger("authmint.revocation_list")

MEDIA_TYPE = "revocation-list+jwt"
WAIT_SECONDS = 5
"""How long the issuer may hold a question back while nothing changes."""
LONGEST_PAUSE = 15.0
STALE_SECONDS = 60.0
"""Without an answer for this long, the list is no longer believed to be whole."""
OLDEST = 300
"""Seconds since a list was signed: an older one is a copy that somebody has kept."""
LARGEST = 8_000_000
NEVER = -1


@dataclass(frozen=True, slots=True)
class Revoked:
    """One list: the sessions that have ended, and the last second of issue that is refused, of a person, a client, everyone."""

    sids: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    everyone: int = NEVER

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Revoked":
        """Raises InvalidToken for what has not the form of a list."""
        times = {name: members.get(name, {}) for name in ("sids", "users", "clients")}
        for name, known in times.items():
            if not isinstance(known, dict) or not all(type(time) is int for time in known.values()):
                raise InvalidToken(f"malformed_{name}")
        everyone = members.get("everyone", NEVER)
        if "sids" not in members or type(everyone) is not int:
            raise InvalidToken("malformed_sids" if "sids" not in members else "malformed_everyone")
        return cls(**times, everyone=everyone)

    def has(self, token: Principal) -> bool:
        """Whether the token was revoked before it expired."""
        last = max(self.everyone, self.users.get(token.sub, NEVER), self.clients.get(token.client_id, NEVER))
        return token.session_id in self.sids or token.issued_at <= last


class Revocations:
    """What one issuer has revoked, as far as it has been heard of."""

    def __init__(self, issuer: str, keys: KeySet, *, clock: Callable[[], float], fails_closed: bool) -> None:
        """`clock`: seconds since the epoch; `fails_closed`: while the list is stale, every token is IssuerUnavailable."""
        self._issuer, self._keys, self._clock, self._fails_closed = issuer, keys, clock, fails_closed
        self._parser = Parser(types=(MEDIA_TYPE,), longest=LARGEST)
        self._uri: str | None = None
        self._revoked = Revoked()
        self._tag = ""
        self._heard_at: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the issuer was heard of last; None before the first time."""
        return None if self._heard_at is None else max(0.0, self._clock() - self._heard_at)

    def check(self, token: Principal) -> None:
        """Raises InvalidToken for a token that was revoked, IssuerUnavailable when the list is stale and that matters."""
        if self._revoked.has(token):
            raise InvalidToken("revoked")
        if self._fails_closed and (self.age is None or self.age > STALE_SECONDS):
            raise IssuerUnavailable("the issuer's list of revocations cannot be fetched")

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Follows the list inside the block. A failure never stops the start."""
        first = asyncio.create_task(self._hear(wait=0))
        await asyncio.wait({first}, timeout=TIMEOUT)
        follower = asyncio.create_task(self._follow(), name="authmint: follows revocations")
        try:
            yield
        finally:
            for task in (first, follower):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _follow(self) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            # What nobody holds back is not asked for again at once.
            heard = await self._hear(wait=WAIT_SECONDS)
            pause = 0.2 if heard else min(LONGEST_PAUSE, max(1.0, pause * 2))

    async def _hear(self, *, wait: int) -> bool:
        """Whether an answer came that could be believed."""
        try:
            headers = {"If-None-Match": self._tag} if self._tag else {}
            answer = await fetch(f"{await self._find()}?wait={wait}", headers, seconds=wait + TIMEOUT, largest=LARGEST)
            if answer.status != 304 or not self._tag:
                await self._accept(answer)
        except Exception as error:
            # Nothing that a network can do may end this: the next attempt is a new one.
            self._uri = None
            reason = error.reason if isinstance(error, InvalidToken) else str(error)
            log.warning("the list of revocations could not be fetched: %s", reason or type(error).__name__)
            return False
        self._heard_at = self._clock()
        return True

    async def _find(self) -> str:
        if self._uri is None:
            self._uri = (await discover(self._issuer)).revocation_list_uri
        if self._uri is None:
            raise FetchError("the issuer's metadata has no revocation_list_uri")
        return check_url(self._uri, "revocation_list_uri")

    async def _accept(self, answer: Answer) -> None:
        if answer.status != 200:
            raise FetchError(f"status {answer.status}")
        jws = self._parser.parse(answer.content.decode("latin-1"))
        kid = jws.header.key_id
        if kid is None:
            raise InvalidToken("missing_kid")
        key = self._keys.find(kid) or await self._keys.fetch(kid)
        members = read_payload(key.verify(jws))
        if members.get("iss") != self._issuer:
            raise InvalidToken("wrong_issuer")
        issued_at = members.get("iat")
        if type(issued_at) is not int or abs(self._clock() - issued_at) > OLDEST:
            raise InvalidToken("expired")
        # Replaced as a whole: the issuer leaves out what has expired, so this grows with nothing but its own list.
        self._revoked, self._tag = Revoked.of(members), answer.headers.get("etag", "")
