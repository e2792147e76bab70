"""The signed list of what was revoked while its access tokens may not have expired, for services that verify tokens locally."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from authmint.revocation_list import RevocationList as RevokedTokens
from authmint_service.errors import DatabaseUnavailable
from authmint_service.revocations import RevocationStore, RevokedEntries
from authmint_service.signing_keys import KeyRing

TYPE = "revocation-list+jwt"
FRESH_SECONDS = 0.5
"""The minimum time between two queries, however many requests there are."""
RESIGN_SECONDS = 60.0
"""The maximum age of a signature while the entries stay the same."""
MAX_LEEWAY = 300
"""Seconds for which a resource server may accept an expired token, at most."""


@dataclass(frozen=True, slots=True)
class SignedRevocationList:
    """A signed list, the entity tag that changes with its entries, and the parsed entries."""

    text: str
    tag: str
    revoked: RevokedTokens


class RevocationListPublisher:
    """Makes the current list, and keeps it in memory."""

    def __init__(
        self, store: RevocationStore, ring: KeyRing, *, issuer: str, lifetime: int, clock: Callable[[], float]
    ) -> None:
        """`lifetime`: of access tokens, seconds; `clock`: seconds since the epoch."""
        self._store, self._ring, self._issuer, self._clock = store, ring, issuer, clock
        self._relevant_seconds = lifetime + MAX_LEEWAY
        self._list: SignedRevocationList | None = None
        self._queried_at = self._signed_at = float("-inf")
        self._lock = asyncio.Lock()
        self._failed_at = float("-inf")

    async def current(self) -> SignedRevocationList:
        """Return a list that is at most FRESH_SECONDS old. Raise DatabaseUnavailable, TemporarilyUnavailable."""
        if self._list is not None and time.monotonic() - self._queried_at < FRESH_SECONDS:
            return self._list
        async with self._lock:
            started = time.monotonic()
            if started - self._failed_at < FRESH_SECONDS:
                # Requests that waited for the lock must not wait for the same database one after another.
                raise DatabaseUnavailable("it did not respond to the last query")
            if self._list is None or started - self._queried_at >= FRESH_SECONDS:
                self._list = await self._query_or_note_failure(started)
                # The time when the query began: what was revoked while it ran may be missing.
                self._queried_at = started
            return self._list

    async def _query_or_note_failure(self, started: float) -> SignedRevocationList:
        try:
            return await self._query(started)
        except DatabaseUnavailable:
            self._failed_at = time.monotonic()
            raise

    async def _query(self, started: float) -> SignedRevocationList:
        now = self._clock()
        members = self._members(await self._store.find_since(now - self._relevant_seconds))
        tag = f'"{hashlib.sha256(json.dumps(members).encode()).hexdigest()[:32]}"'
        if self._list is not None and self._list.tag == tag and started - self._signed_at < RESIGN_SECONDS:
            return self._list
        self._signed_at = started
        text = await self._ring.signer.sign({"iss": self._issuer, "iat": int(now), **members}, typ=TYPE)
        return SignedRevocationList(text, tag, RevokedTokens.from_claims(members))

    def _members(self, revoked: RevokedEntries) -> dict[str, Any]:
        """Return the members of the list, with times in whole seconds, like those in access tokens.

        `sids`: when the last access token of each session has expired. The others: the last `iat` that is revoked.
        """
        members: dict[str, Any] = {
            "sids": {
                session: int(revoked_at) + self._relevant_seconds for session, revoked_at in sorted(revoked.sessions.items())
            }
        }
        for name, times in (("users", revoked.users), ("clients", revoked.clients)):
            if times:
                members[name] = {subject: int(revoked_at) for subject, revoked_at in sorted(times.items())}
        if revoked.everyone is not None:
            members["everyone"] = int(revoked.everyone)
        return members
