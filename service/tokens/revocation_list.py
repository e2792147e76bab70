"""The signed list of ended sessions whose access tokens may still be alive, for services that verify by themselves."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import DatabaseUnavailable
from service.sessions import SessionStore
from service.signing_keys import Ring

TYPE = "revocations+jwt"
FRESH_SECONDS = 0.5
"""The database is asked no more often than this, however many ask."""
SIGNED_AGAIN_SECONDS = 60.0
LONGEST_LEEWAY = 300
"""As long as a resource server may stretch a token's life."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A signed list, and the tag that changes when its sessions do."""

    text: str
    tag: str


class RevocationLists:
    """Keeps the current list in memory."""

    def __init__(self, store: SessionStore, ring: Ring, *, issuer: str, lifetime: int, clock: Callable[[], float]) -> None:
        """`lifetime`: of access tokens, seconds; `clock`: seconds since the epoch."""
        self._store, self._ring, self._issuer, self._clock = store, ring, issuer, clock
        self._matters = lifetime + LONGEST_LEEWAY
        self._list: RevocationList | None = None
        self._asked_at = self._signed_at = float("-inf")
        self._asking = asyncio.Lock()
        self._failed_at = float("-inf")

    async def current(self) -> RevocationList:
        """The list, half a second old at most. Raises DatabaseUnavailable, TemporarilyUnavailable."""
        async with self._asking:
            started = time.monotonic()
            if started - self._failed_at < FRESH_SECONDS:
                # Those who have waited here shall not wait for the same database one after another.
                raise DatabaseUnavailable("it did not answer a moment ago")
            if self._list is None or started - self._asked_at >= FRESH_SECONDS:
                self._list = await self._ask_or_note_failure(started)
                # From the beginning of the question: what ended while it was under way may be missing.
                self._asked_at = started
            return self._list

    async def _ask_or_note_failure(self, started: float) -> RevocationList:
        try:
            return await self._ask(started)
        except DatabaseUnavailable:
            self._failed_at = time.monotonic()
            raise

    async def _ask(self, started: float) -> RevocationList:
        now = self._clock()
        ended = await self._store.ended_since(now - self._matters)
        sids = {session_id: int(ended_at) + self._matters for session_id, ended_at in sorted(ended.items())}
        tag = f'"{hashlib.sha256(json.dumps(sids).encode()).hexdigest()[:32]}"'
        if self._list is not None and self._list.tag == tag and started - self._signed_at < SIGNED_AGAIN_SECONDS:
            return self._list
        self._signed_at = started
        text = await self._ring.signer.sign({"iss": self._issuer, "iat": int(now), "sids": sids}, typ=TYPE)
        return RevocationList(text, tag)
