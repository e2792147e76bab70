"""Follow an issuer's list of revocations, so that its access tokens are refused before they expire.

The list is signed with the issuer's keys, polled in the background, and held in memory: no request waits for it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authmint.background import Job, wait_at_most
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.fetching import TIMEOUT, FetchedResponse, FetchError, check_url, fetch
from authmint.jose import Parser, read_payload
from authmint.key_sets import RevocableKeySet
from authmint.metadata import discover
from authmint.principal import Principal

log = logging.getLogger("authmint.revocation_list")

MEDIA_TYPE = "revocation-list+jwt"
WAIT_SECONDS = 5
"""How long the issuer may delay its response while nothing changes."""
PAUSE_SECONDS, MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.2, 1.0, 15.0
"""Before the next poll after a success, and the bounds after a failure."""
STALE_SECONDS = 60.0
"""Without a response for this long, the list is no longer trusted to be complete."""
MAX_AGE_SECONDS = 300
"""Since a list was signed. An older one is a copy that was kept somewhere."""
MAX_BYTES = 8_000_000
NEVER = -1


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The revoked sessions, and the last second of issue that is refused: of a user, of a client, of all."""

    sids: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    everyone: int = NEVER

    @classmethod
    def from_claims(cls, members: Mapping[str, Any]) -> "RevocationList":
        """Return the list in a verified payload. Raise InvalidToken for anything else than a list."""
        times = {name: members.get(name, {}) for name in ("sids", "users", "clients")}
        for known in times.values():
            if not isinstance(known, dict) or not all(type(time) is int for time in known.values()):
                raise InvalidToken("malformed_list")
        everyone = members.get("everyone", NEVER)
        if "sids" not in members or type(everyone) is not int:
            raise InvalidToken("malformed_list")
        return cls(**times, everyone=everyone)

    def revokes(self, token: Principal) -> bool:
        """Return whether the token was revoked before it expired."""
        last = max(self.everyone, self.users.get(token.sub, NEVER), self.clients.get(token.client_id, NEVER))
        return token.session_id in self.sids or token.issued_at <= last


class RevocationListFollower:
    """The latest list of one issuer."""

    def __init__(self, issuer: str, keys: RevocableKeySet, *, clock: Callable[[], float], fails_closed: bool) -> None:
        """`clock`: seconds since the epoch; `fails_closed`: while the list is stale, every token is IssuerUnavailable."""
        self._issuer, self._keys, self._clock, self._fails_closed = issuer, keys, clock, fails_closed
        self.job = Job(self._follow, clock=clock)
        self._pause = 0.0
        self._attempted_at = float("-inf")
        self._parser = Parser(types=(MEDIA_TYPE,), max_length=MAX_BYTES)
        self._uri: str | None = None
        self._list = RevocationList()
        self._tag = ""
        self._received_at: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the issuer's last response; None before the first one."""
        return None if self._received_at is None else max(0.0, self._clock() - self._received_at)

    @property
    def is_overdue(self) -> bool:
        """Whether nothing has tried to fetch the list for a minute: this is the first need, or the process was frozen."""
        return self._clock() - self._attempted_at > STALE_SECONDS

    async def catch_up(self) -> None:
        """Wait for the list, three seconds at most."""
        await wait_at_most(TIMEOUT, self.job.run())

    def check(self, token: Principal) -> None:
        """Raise InvalidToken for a revoked token; IssuerUnavailable when the list is stale and the follower fails closed.

        Follow the list from now on, if nothing does: after a fork, say, or after the end of a `lifespan`.
        """
        if not self.job.is_active:
            self.job.run()
        if self._list.revokes(token):
            raise InvalidToken("revoked")
        if self._fails_closed and (self.age is None or self.age > STALE_SECONDS):
            raise IssuerUnavailable("the issuer's revocation list cannot be fetched")

    async def _follow(self) -> float:
        """Poll once. Return the seconds until the next poll: an issuer that does not wait is not polled without a pause."""
        is_current = await self._poll(wait=0 if self.is_overdue else WAIT_SECONDS)
        self._attempted_at = self._clock()
        self._pause = PAUSE_SECONDS if is_current else min(MAX_RETRY_SECONDS, max(MIN_RETRY_SECONDS, self._pause * 2))
        return self._pause

    async def _poll(self, *, wait: int) -> bool:
        """Poll the issuer once. Return whether its response could be trusted."""
        try:
            headers = {"If-None-Match": self._tag} if self._tag else {}
            uri = await self._find_uri()
            response = await fetch(f"{uri}?wait={wait}", headers, seconds=wait + TIMEOUT, max_bytes=MAX_BYTES)
            if response.status != 304 or not self._tag:
                await self._accept(response)
        except Exception as error:
            # No failure of the network may end the follower: the next poll starts anew.
            self._uri = None
            reason = error.reason if isinstance(error, InvalidToken) else str(error)
            log.warning("the revocation list could not be fetched: %s", reason or type(error).__name__)
            return False
        self._received_at = self._clock()
        return True

    async def _find_uri(self) -> str:
        if self._uri is None:
            self._uri = (await discover(self._issuer)).revocation_list_uri
        if self._uri is None:
            raise FetchError("the issuer's metadata has no revocation_list_uri")
        return check_url(self._uri, "revocation_list_uri")

    async def _accept(self, response: FetchedResponse) -> None:
        if response.status != 200:
            raise FetchError(f"status {response.status}")
        jws = self._parser.parse(response.content.decode("latin-1"))
        kid = jws.header.key_id
        if kid is None:
            raise InvalidToken("missing_kid")
        key = self._keys.find(kid)
        if key is None:
            # Nothing is trusted yet: only a list that looks like this issuer's own makes it fetch a key.
            if read_payload(jws.payload).get("iss") != self._issuer:
                raise InvalidToken("wrong_issuer")
            key = await self._keys.fetch_signer(kid)
        members = read_payload(key.verify(jws))
        if members.get("iss") != self._issuer:
            raise InvalidToken("wrong_issuer")
        issued_at = members.get("iat")
        if type(issued_at) is not int or abs(self._clock() - issued_at) > MAX_AGE_SECONDS:
            raise InvalidToken("expired")
        # Replaced as a whole: the issuer leaves out what has expired, so this is never larger than its list.
        self._list, self._tag = RevocationList.from_claims(members), response.headers.get("etag", "")
