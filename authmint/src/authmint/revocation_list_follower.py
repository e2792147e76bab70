"""Follow an issuer's revocation list, so that its access tokens are refused before they expire.

The list is signed with the issuer's keys, polled in the background, and held in memory. Only the first request waits for it,
and the first one after a fork, after the end of a `lifespan`, and after the process was frozen.
"""

import logging
from collections.abc import Callable

from authmint.background import Job, wait_at_most
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.events import Observer, noop
from authmint.fetching import TIMEOUT, FetchedResponse, FetchError, fetch
from authmint.jose import Parser, read_payload
from authmint.key_sets import RevocableKeySet
from authmint.list_freshness import ListFreshness
from authmint.metadata import discover
from authmint.principal import Principal
from authmint.revocation_list import MAX_BYTES, MEDIA_TYPE, STALE_SECONDS, RevocationList, accept_list

log = logging.getLogger("authmint.revocation_list")

WAIT_SECONDS = 5
"""How long the issuer may delay its response while nothing changes."""
GIVE_UP_SECONDS = 1.0
"""After the wait: a request without a response is given up, and sent again on a new connection."""
TRANSFER_SECONDS = 15.0
"""For the rest of a large list, once its response has begun."""
OVERDUE_SECONDS = 30.0
"""Polls that nothing delays have an outcome sooner, so that a list is fresh at least until then."""
PAUSE_SECONDS, MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.2, 1.0, 15.0
"""Before the next poll after a success, and the bounds after a failure."""


class RevocationListFollower:
    """The latest list of one issuer."""

    def __init__(
        self,
        issuer: str,
        keys: RevocableKeySet,
        *,
        clock: Callable[[], float],
        fails_closed: bool,
        observer: Observer = noop,
    ) -> None:
        """`clock`: seconds since the epoch; `fails_closed`: while the list is stale, every token is IssuerUnavailable."""
        self._issuer, self._keys, self._clock, self._fails_closed = issuer, keys, clock, fails_closed
        self.job = Job(self._follow, clock=clock)
        self._freshness = ListFreshness(issuer, observer, stale_seconds=STALE_SECONDS, fails_closed=fails_closed)
        self._pause = 0.0
        self._attempted_at = float("-inf")
        self._parser = Parser(types=(MEDIA_TYPE,), max_length=MAX_BYTES)
        self._uri: str | None = None
        self._list: RevocationList | None = None
        self._asks_whole = True
        self._retry_after = 0
        """Seconds for which the last response asked not to poll."""

    @property
    def age(self) -> float | None:
        """Seconds since the issuer read its database for the list; None before the first one."""
        return None if self._list is None else max(0.0, self._clock() - self._list.issued_at)

    @property
    def is_overdue(self) -> bool:
        """Whether nothing follows the list: this is the first need of the process, which may be a fork, or it was frozen."""
        return not self.job.is_active or self._clock() - self._attempted_at > OVERDUE_SECONDS

    @property
    def problem(self) -> str | None:
        """Why every token is IssuerUnavailable, as a sentence for operators; None while tokens are trusted."""
        if not self._fails_closed or self._freshness.is_fresh(self.age):
            return None
        return (
            f"There is no revocation list of {self._issuer}, or by this computer's clock it is older than a minute,"
            " and revocation_list_fail is closed."
        )

    async def catch_up(self) -> None:
        """Follow the list from now on, and wait for it: three seconds at most."""
        if not self.job.is_active:
            # What was known before is as old as the fork, say. All requests wait for the next list, which is asked for at once.
            self._attempted_at = float("-inf")
        await wait_at_most(TIMEOUT, self.job.run())

    def check(self, token: Principal, checked_by: object = None) -> object:
        """Raise InvalidToken for a revoked token; IssuerUnavailable when the list is stale and the follower fails closed.

        Return the entries that it was checked by; a token that was checked by the same ones is not looked up again.
        """
        entries = None if self._list is None else self._list.entries
        if entries is not None and entries is not checked_by and (reason := entries.reason(token)):
            raise InvalidToken(reason)
        if self._fails_closed and not self._freshness.is_fresh(self.age):
            raise IssuerUnavailable("the issuer's revocation list cannot be fetched")
        return entries

    async def _follow(self) -> float:
        """Poll once. Return the seconds until the next poll: an issuer that does not wait is not polled without a pause."""
        is_current = await self._poll(wait=0 if self.is_overdue else WAIT_SECONDS)
        self._attempted_at = self._clock()
        self._freshness.report(self.age, was_fetched=is_current)
        pause = PAUSE_SECONDS if is_current else max(MIN_RETRY_SECONDS, self._pause * 2)
        self._pause = min(MAX_RETRY_SECONDS, max(pause, self._retry_after))
        return self._pause

    async def _poll(self, *, wait: int) -> bool:
        """Poll the issuer once. Return whether its response could be trusted."""
        self._retry_after = 0
        try:
            response = await self._request(wait)
            self._retry_after = response.retry_after or 0
            await self._accept(response)
        except Exception as error:
            # No failure of the network may end the follower: the next poll starts anew.
            self._uri = None
            # A list that does not fit the one before it: the next one has to be whole.
            self._asks_whole = self._asks_whole or isinstance(error, InvalidToken)
            reason = error.reason if isinstance(error, InvalidToken) else str(error)
            log.warning("the revocation list could not be fetched: %s", reason or type(error).__name__)
            return False
        return True

    async def _request(self, wait: int) -> FetchedResponse:
        uri = await self._find_uri()
        if self._list is not None:
            self._list = self._list.without_ended(self._clock())
        if self._list is None or self._asks_whole:
            return await fetch(uri, seconds=TIMEOUT, transfer_seconds=TRANSFER_SECONDS, max_bytes=MAX_BYTES)
        query = f"{'&' if '?' in uri else '?'}since={self._list.serial}&wait={wait}"
        seconds = wait + GIVE_UP_SECONDS
        return await fetch(uri + query, seconds=seconds, transfer_seconds=TRANSFER_SECONDS, max_bytes=MAX_BYTES)

    async def _find_uri(self) -> str:
        if self._uri is None:
            self._uri = (await discover(self._issuer)).revocation_list_uri
        if self._uri is None:
            raise FetchError("the issuer's metadata has no revocation_list_uri that may be used")
        return self._uri

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
        received = RevocationList.from_claims(read_payload(key.verify(jws)), issuer=self._issuer)
        self._list = accept_list(self._list, received, self._clock())
        self._asks_whole = False
        self._keys.revoke(self._list.entries.keys)
