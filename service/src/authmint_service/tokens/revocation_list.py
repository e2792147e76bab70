"""The signed list of what was revoked while its access tokens may not have expired, for services that verify tokens locally.

One task reads the database every half second, for all who ask. Signed documents are kept until there is something new, and
followers whose serials are close together get the same one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from authmint import Principal
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.revocation_list import MAX_BYTES, MEDIA_TYPE
from authmint.revoked_entries import BELOW_SECONDS, RevokedEntries
from authmint_service.change_feed import ChangeFeed
from authmint_service.database_clock import DatabaseClock
from authmint_service.draining import Draining
from authmint_service.errors import DatabaseUnavailable
from authmint_service.revocations import RevocationHistory, RevocationReading, RevocationStore
from authmint_service.revocations.history import OVERLAP_SECONDS, RECENT_SECONDS
from authmint_service.signing_keys import KeyRing

READ_SECONDS = 0.5
"""From the end of one reading to the next."""
RESIGN_SECONDS = 20.0
"""After so long a list is signed anew, though it says nothing new: followers measure its age."""
MAX_AGE_SECONDS = 5.0
"""Of a reading. What is older is not published, and this service trusts no token by it."""


LARGE = 0.5
"""The part of what followers take from which on `/readyz` says so."""
PACKED_BYTES, NAMED_BYTES = 14.3, 71
"""Of an entry in a pack, and of one with the name of an account: each is in base64url twice, or once."""


def estimate_bytes(entries: RevokedEntries) -> int:
    """Return the bytes of a signed list with these entries, about."""
    return int(1000 + PACKED_BYTES * (len(entries.sessions) + len(entries.tokens)) + NAMED_BYTES * len(entries.below))


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published at a time."""

    serial: int
    """The time of its reading by the database's clock, in milliseconds."""
    history: RevocationHistory = field(default_factory=RevocationHistory)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is another one, or when followers must not wait any more."""


class RevocationListPublisher:
    """Reads what was revoked, publishes it, and checks this service's own tokens by it."""

    def __init__(
        self,
        store: RevocationStore,
        ring: KeyRing,
        *,
        issuer: str,
        clock: DatabaseClock,
        changes: ChangeFeed,
        elapsed: Callable[[], float],
        draining: Draining,
    ) -> None:
        """`changes`: reads the database's time before the first reading; `elapsed`: seconds by a clock that is never set back;
        `draining`: a process that is about to stop delays no response.
        """
        self._store, self._ring, self._issuer = store, ring, issuer
        self._clock, self._changes, self._elapsed, self._draining = clock, changes, elapsed, draining
        self._current: Publication | None = None
        self._serial, self._time = 0, 0.0
        self._listed = 0
        self._asked_at = float("-inf")
        self._documents: dict[tuple[int | None, int, str], bytes] = {}
        self._signing = asyncio.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether the last reading is young enough."""
        return 0 <= self._elapsed() - self._asked_at < MAX_AGE_SECONDS

    @property
    def entries(self) -> RevokedEntries:
        """What was revoked. Raise DatabaseUnavailable while that has not been read for MAX_AGE_SECONDS."""
        return self._publication().history.whole

    is_overdue = False
    """For a resource server, which need not wait: a task reads."""

    async def catch_up(self) -> None:
        """Do nothing."""

    @property
    def age(self) -> float:
        """Seconds since the question was sent that the database answered last."""
        return self._elapsed() - self._asked_at

    @property
    def size(self) -> int:
        """Entries of the whole list."""
        return 0 if self._current is None else len(self._current.history.whole)

    @property
    def estimated_bytes(self) -> int:
        """Bytes of the whole list, about, as it is sent."""
        return 0 if self._current is None else estimate_bytes(self._current.history.whole)

    @property
    def problem(self) -> str | None:
        """What operators must know about the size of the list, as a sentence; None while it is small."""
        size = self.estimated_bytes
        if size < MAX_BYTES * LARGE:
            return None
        return (
            f"The revocation list has about {size // 2**20} MiB, and followers take {MAX_BYTES // 2**20} MiB at most:"
            " then they go on without what is new. Find out who ends so many sessions, and why; shorter access tokens"
            " (AUTHMINT_ACCESS_TOKEN_TTL) make the list smaller."
        )

    def check(self, token: Principal, checked_by: object = None) -> object:
        """Raise InvalidToken for a revoked token; IssuerUnavailable while it cannot be known. Return what it was checked by."""
        try:
            entries = self.entries
        except DatabaseUnavailable as error:
            raise IssuerUnavailable("what was revoked cannot be read", retry_after=error.retry_after) from error
        if entries is not checked_by and (reason := entries.reason(token)):
            raise InvalidToken(reason)
        return entries

    async def read(self) -> None:
        """Read what was revoked since the last reading. Raise DatabaseUnavailable, SchemaOutdated."""
        current = self._current
        if current is not None and self._draining.has_begun:
            current.is_over.set()
        if current is None:
            await self._changes.read()
        asked_at = self._elapsed()
        if current is None:
            now = self._clock()
            reading = await self._store.read_all(since=now - BELOW_SECONDS, recent_since=now - RECENT_SECONDS)
        else:
            # What was committed late is read with the next minute's readings.
            seconds = asked_at - self._asked_at + OVERLAP_SECONDS
            reading = await self._store.read(since=self._time - OVERLAP_SECONDS, seconds=seconds, listed=self._listed)
        self._time = await self._clock.of_reading(reading.time)
        self._asked_at, self._listed = asked_at, reading.listed
        # If the database's clock was set back, the serial stays until it has caught up, and takes nothing back.
        self._serial = max(self._serial, int(self._time * 1000))
        self._publish(reading)

    def _publish(self, reading: RevocationReading) -> None:
        current = self._current
        history = (RevocationHistory() if current is None else current.history).merged(reading, self._time)
        if current is not None and history is current.history:
            if self._serial - current.serial < RESIGN_SECONDS * 1000:
                return
            history = history.without_ended(self._time)
        self._current = Publication(self._serial, history)
        self._documents.clear()
        if current is not None:
            current.is_over.set()

    async def wait(self, since: int, seconds: float) -> None:
        """Wait until there is something newer than the serial `since`, for `seconds` at most."""
        publication = self._current
        if publication is None or publication.serial > since or self._draining.has_begun:
            return
        try:
            async with asyncio.timeout(seconds):
                await publication.is_over.wait()
        except TimeoutError:
            return

    async def document(self, since: int | None) -> bytes:
        """Return the signed list for a follower with the serial `since`; a whole one for None.

        All followers with the same serial get the same bytes: a list has up to 16 MB, which are kept once.

        Raise DatabaseUnavailable, TemporarilyUnavailable.
        """
        publication = self._publication()
        # Another process may have read later than this one had when it published.
        serial = publication.serial if since is None or since <= publication.serial else self._serial
        first_slice = publication.history.first_slice(None if since is None else min(since, serial), serial / 1000)
        signer = self._ring.signer
        # With another key after an emergency: the one before is on the list itself.
        name = first_slice, serial, signer.kid
        async with self._signing:
            if name not in self._documents:
                # Those of earlier readings are asked for no more.
                kept = {publication.serial, self._serial}
                self._documents = {known: text for known, text in self._documents.items() if known[1] in kept}
                claims = publication.history.make_list(first_slice, serial).to_claims(self._issuer)
                self._documents[name] = (await signer.sign(claims, typ=MEDIA_TYPE)).encode()
            return self._documents[name]

    def _publication(self) -> Publication:
        if self._current is None or not self.is_fresh:
            raise DatabaseUnavailable("what was revoked has not been read for some seconds")
        return self._current
