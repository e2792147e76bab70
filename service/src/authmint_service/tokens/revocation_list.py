"""The signed list of what was revoked while its access tokens may still be alive, for services that verify by themselves."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from authmint.revocation_list import RevocationList as RevokedTokens
from authmint_service.errors import DatabaseUnavailable
from authmint_service.revocations import Revocations, RevocationStore
from authmint_service.signing_keys import KeyRing

TYPE = "revocation-list+jwt"
FRESH_SECONDS = 0.5
"""The database is asked no more often than this, however many ask."""
SIGNED_AGAIN_SECONDS = 60.0
MAX_LEEWAY = 300
"""As long as a resource server may stretch a token's life."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A signed list, the tag that changes when what is on it does, and what a follower makes of it."""

    text: str
    tag: str
    revoked: RevokedTokens


class RevocationListPublisher:
    """Keeps the current list in memory."""

    def __init__(
        self, store: RevocationStore, ring: KeyRing, *, issuer: str, lifetime: int, clock: Callable[[], float]
    ) -> None:
        """`lifetime`: of access tokens, seconds; `clock`: seconds since the epoch."""
        self._store, self._ring, self._issuer, self._clock = store, ring, issuer, clock
        self._matters = lifetime + MAX_LEEWAY
        self._list: RevocationList | None = None
        self._asked_at = self._signed_at = float("-inf")
        self._asking = asyncio.Lock()
        self._failed_at = float("-inf")

    async def current(self) -> RevocationList:
        """The list, half a second old at most. Raises DatabaseUnavailable, TemporarilyUnavailable."""
        if self._list is not None and time.monotonic() - self._asked_at < FRESH_SECONDS:
            return self._list
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
        members = self._members(await self._store.since(now - self._matters))
        tag = f'"{hashlib.sha256(json.dumps(members).encode()).hexdigest()[:32]}"'
        if self._list is not None and self._list.tag == tag and started - self._signed_at < SIGNED_AGAIN_SECONDS:
            return self._list
        self._signed_at = started
        text = await self._ring.signer.sign({"iss": self._issuer, "iat": int(now), **members}, typ=TYPE)
        return RevocationList(text, tag, RevokedTokens.from_claims(members))

    def _members(self, revoked: Revocations) -> dict[str, Any]:
        """`sids`: when the last access token of each session has expired. The others: the last second of issue that is refused.

        All in whole seconds, as the times in access tokens are.
        """
        members: dict[str, Any] = {
            "sids": {session: int(ended) + self._matters for session, ended in sorted(revoked.sessions.items())}
        }
        for name, times in (("users", revoked.users), ("clients", revoked.clients)):
            if times:
                members[name] = {subject: int(revoked_at) for subject, revoked_at in sorted(times.items())}
        if revoked.everyone is not None:
            members["everyone"] = int(revoked.everyone)
        return members
