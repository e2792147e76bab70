"""The keys of an issuer, by `kid`: pinned (`StaticKeySet`) or fetched (`RemoteKeySet`).

A set is replaced as a whole and never merged, so a key that the issuer removed is gone with the next fetch. Lookups are plain
dictionary reads; only the event loop's thread writes.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from authmint.errors import ConfigurationError, InvalidToken, IssuerUnavailable
from authmint.events import Observer, VerificationEvent, noop
from authmint.fetching import TIMEOUT, JSONDocument
from authmint.jose import SharedSecretKey, VerifyingKey

log = logging.getLogger("authmint.key_sets")

MAX_KEYS = 64


class KeySet(Protocol):
    """Where a resource server gets its keys."""

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it is in the set."""

    async def fetch(self, kid: str) -> VerifyingKey:
        """Fetch the key from the issuer. Raise InvalidToken if it has none, IssuerUnavailable if it does not respond."""


def usable_keys(jwks: Mapping[str, Any]) -> dict[str, VerifyingKey]:
    """Return the keys of a JWK set (RFC 7517, section 5) that may verify tokens. Log a warning for each of the others.

    Two keys under one `kid` are both skipped: which of them is meant cannot be known. Raise ValueError without a list.
    """
    members = jwks.get("keys")
    if not isinstance(members, list):
        raise ValueError("a key set has a list named keys")
    keys: dict[str, VerifyingKey] = {}
    repeated: set[str] = set()
    for position, jwk in enumerate(members[:MAX_KEYS]):
        try:
            key = VerifyingKey.from_jwk(jwk)
        except ValueError as error:
            log.warning("key %d of the set is not used: %s", position, error)
            continue
        if key.kid is not None:
            repeated.update({key.kid} & keys.keys())
            keys[key.kid] = key
    for kid in repeated:
        log.warning("a kid stands for two keys; neither is used")
        del keys[kid]
    return keys


class StaticKeySet:
    """Keys that are given: for tests, for offline use, and for the issuer itself."""

    def __init__(self, jwks: Mapping[str, Any] | None = None) -> None:
        """Without `jwks` every token is IssuerUnavailable until `replace`. Raise ConfigurationError if no key is usable."""
        self._keys: dict[str, VerifyingKey] = {}
        if jwks is not None:
            self.replace(jwks)

    def replace(self, jwks: Mapping[str, Any]) -> None:
        """Replace the keys. Raise ConfigurationError, and keep the present ones, if no key is usable."""
        try:
            keys = usable_keys(jwks)
        except ValueError as error:
            raise ConfigurationError(f"The key set cannot be read: {error}.") from error
        if not keys:
            raise ConfigurationError("The key set has no key that may verify tokens.")
        self._keys = keys

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it was given."""
        return None if kid is None else self._keys.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        """Raise InvalidToken, or IssuerUnavailable before the first `replace`: there is nothing to fetch."""
        if not self._keys:
            raise IssuerUnavailable("no keys yet")
        raise InvalidToken("unknown_key")


class SharedSecretKeySet:
    """One shared secret for every token, whatever its `kid`."""

    def __init__(self, key: SharedSecretKey) -> None:
        self._key = key

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the shared secret."""
        return self._key

    async def fetch(self, kid: str) -> VerifyingKey:
        """Return the shared secret."""
        return self._key


class RemoteKeySet:
    """Keys that are fetched, and kept while the issuer is unavailable.

    All ages are seconds. Up to `soft_age` (or the response's max-age, within 1 to 15 minutes) keys are fresh. Then they are
    stale: they still verify, while a refresh runs in the background. After `hard_age` they are no longer trusted. A `kid` that
    is not in the set causes one fetch in each `cooldown` at most, counted by attempts. A first fetch that fails is repeated
    sooner, at growing intervals.
    """

    cooldown = 30.0
    MIN_SOFT_AGE, MAX_SOFT_AGE = 60.0, 900.0
    MAX_UNKNOWN, UNKNOWN_SECONDS = 128, 60.0

    def __init__(
        self,
        source: Callable[[], Awaitable[JSONDocument]],
        *,
        soft_age: float = 300.0,
        hard_age: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = noop,
    ) -> None:
        self._source, self._observe = source, observer
        self._soft_age, self._hard_age, self._clock = soft_age, hard_age, clock
        self._keys: dict[str, VerifyingKey] = {}
        self._stale_at = self._expires_at = self._next_attempt = float("-inf")
        self._failures = 0
        self._unknown: dict[str, float] = {}
        self._fetching: asyncio.Task[None] | None = None

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it is in the set; start a refresh in the background if the set is stale."""
        now = self._clock()
        if kid is None or now >= self._expires_at:
            return None
        if now >= self._stale_at:
            self._observe(VerificationEvent("stale_keys_used"))
            if now >= self._next_attempt:
                self._start_fetch()
        return self._keys.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        """Return the key after a fetch, within the limits of the class. Raise InvalidToken, IssuerUnavailable."""
        now = self._clock()
        if now < self._expires_at and self._unknown.get(kid, now) > now:
            self._observe(VerificationEvent("unknown_key"))
            raise InvalidToken("unknown_key")
        if now >= self._next_attempt or self._is_fetching():
            # The caller may be cancelled. The fetch goes on, because others wait for it as well.
            await asyncio.shield(self._start_fetch())
        else:
            self._observe(VerificationEvent("fetch_postponed"))
        if key := self.find(kid):
            return key
        # If the last attempt failed, the issuer may have this key: a 401 would sign people out for nothing.
        if self._failures or self._clock() >= self._expires_at:
            raise IssuerUnavailable("the issuer's keys cannot be fetched", retry_after=self._retry_after())
        self._store_unknown(kid)
        self._observe(VerificationEvent("unknown_key"))
        raise InvalidToken("unknown_key")

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Fetch the keys before the first request, and again whenever they are stale. A failure never stops the start."""
        await asyncio.wait({self._start_fetch()}, timeout=TIMEOUT)
        refresher = asyncio.create_task(self._keep_fresh(), name="authmint-background")
        try:
            yield
        finally:
            for task in (refresher, self._fetching):
                if task is not None and not task.done():
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _keep_fresh(self) -> None:
        while True:
            next_fetch = max(self._stale_at, self._next_attempt)
            await asyncio.sleep(max(1.0, next_fetch - self._clock()))
            if self._clock() >= max(self._stale_at, self._next_attempt):
                await asyncio.shield(self._start_fetch())

    def _is_fetching(self) -> bool:
        # A task of another event loop (a test's, say) cannot be awaited here, and may never end.
        task = self._fetching
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    def _start_fetch(self) -> "asyncio.Task[None]":
        if self._fetching is None or not self._is_fetching():
            self._next_attempt = self._clock() + self.cooldown
            self._fetching = asyncio.create_task(self._fetch(), name="authmint-background")
        return self._fetching

    async def _fetch(self) -> None:
        started = time.perf_counter()
        try:
            document = await self._source()
            keys = usable_keys(document.members)
        except Exception as error:
            # No failure of the network may reach the requests that wait for this task.
            self._record_failure(str(error) or type(error).__name__, started)
            return
        if keys or not self._keys:
            self._accept(keys, document.max_age)
            self._observe(VerificationEvent("keys_fetched", seconds=time.perf_counter() - started))
        else:
            self._record_failure("the new set has no usable key", started)

    def _accept(self, keys: dict[str, VerifyingKey], max_age: int | None) -> None:
        now = self._clock()
        soft_age = self._soft_age if max_age is None else min(max(max_age, self.MIN_SOFT_AGE), self.MAX_SOFT_AGE)
        self._keys, self._failures = keys, 0
        self._unknown.clear()
        # The jitter keeps processes that started together from fetching together.
        self._stale_at = now + soft_age * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, guards nothing
        self._expires_at = now + self._hard_age if keys else float("-inf")
        self._next_attempt = now + self.cooldown

    def _record_failure(self, reason: str, started: float) -> None:
        self._failures += 1
        self._observe(VerificationEvent("key_fetch_failed", seconds=time.perf_counter() - started))
        log.warning("the issuer's keys could not be fetched (attempt %d): %s", self._failures, reason)
        pause = self.cooldown if self._keys else min(self.cooldown, 2.0 ** (self._failures - 1))
        self._next_attempt = self._clock() + pause

    def _store_unknown(self, kid: str) -> None:
        if len(self._unknown) >= self.MAX_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[kid] = self._clock() + self.UNKNOWN_SECONDS

    def _retry_after(self) -> int:
        return max(1, round(self._next_attempt - self._clock()))
