"""The keys of an issuer, by `kid`: pinned (`StaticKeySet`) or fetched (`RemoteKeySet`).

A set is replaced as a whole and never merged, so a key that the issuer removed is gone with the next fetch. Lookups are plain
dictionary reads, in any thread; fetches run in the background thread, which alone writes what they bring.
"""

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from authmint.background import Job
from authmint.background_thread import wait
from authmint.elapsed_time import ElapsedTime
from authmint.errors import ConfigurationError, InvalidToken, IssuerUnavailable
from authmint.events import Observer, VerificationEvent, noop
from authmint.fetching import JSONDocument
from authmint.jose import SharedSecretKey, VerifyingKey

log = logging.getLogger("authmint.key_sets")

MAX_KEYS = 64
NEVER = float("-inf")


@runtime_checkable
class KeySet(Protocol):
    """Where a resource server gets its keys. To follow a revocation list it needs the methods of RevocableKeySet too."""

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it is in the set."""

    async def fetch(self, kid: str) -> VerifyingKey:
        """Fetch the key from the issuer. Raise InvalidToken if it has none, IssuerUnavailable if it does not respond."""


@runtime_checkable
class RevocableKeySet(KeySet, Protocol):
    """What the follower of a revocation list needs as well."""

    def revoke(self, kids: Collection[str]) -> None:
        """Verify nothing with the keys of these names from now on, whatever is fetched. They replace those named before."""

    async def fetch_signer(self, kid: str) -> VerifyingKey:
        """Do what `fetch` does, for the key of a list that has the right `typ` and `iss`: with a far shorter cooldown."""


def usable_keys(jwks: object) -> dict[str, VerifyingKey]:
    """Return the keys of a JWK set (RFC 7517, section 5) that may verify tokens. Log a warning for each of the others.

    Two keys under one `kid` are both skipped: which of them is meant cannot be known. Raise ValueError without a list.
    """
    members = jwks.get("keys") if isinstance(jwks, Mapping) else None
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


class _KeysByName:
    """The published keys, without those that were revoked."""

    def __init__(self) -> None:
        self._published: Mapping[str, VerifyingKey] = {}
        self._keys: Mapping[str, VerifyingKey] = {}
        self._revoked: frozenset[str] = frozenset()

    def revoke(self, kids: Collection[str]) -> None:
        """Verify nothing with the keys of these names from now on. They replace those that were named before."""
        self._revoked = frozenset(kids)
        self._publish(self._published)

    def _publish(self, keys: Mapping[str, VerifyingKey]) -> None:
        self._published = keys
        self._keys = {kid: key for kid, key in keys.items() if kid not in self._revoked}


class StaticKeySet(_KeysByName):
    """Keys that are given: for tests, for offline use, and for the issuer itself."""

    def __init__(self, jwks: Mapping[str, Any] | None = None) -> None:
        """Without `jwks` every token is IssuerUnavailable until `replace`. Raise ConfigurationError if no key is usable."""
        super().__init__()
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
        self._publish(keys)

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it was given and is not revoked."""
        return None if kid is None else self._keys.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        """Raise InvalidToken, or IssuerUnavailable before the first `replace`: there is nothing to fetch."""
        if not self._published:
            raise IssuerUnavailable("no keys yet")
        raise InvalidToken("revoked_key" if kid in self._revoked else "unknown_key")

    fetch_signer = fetch


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

    fetch_signer = fetch

    def revoke(self, kids: Collection[str]) -> None:
        """Do nothing: the secret has no name."""


class RemoteKeySet(_KeysByName):
    """Keys that are fetched, and kept while the issuer is unavailable.

    All ages are seconds. Up to `soft_age` (or the response's max-age, within 1 to 15 minutes) keys are fresh. Then they are
    stale: they still verify, while a refresh runs in the background. After `hard_age` they are no longer trusted. A `kid` that
    is not in the set causes one fetch in each `cooldown` at most, counted from the outcome of the last one. It is unknown when
    a fetch that began after it was asked for has ended without it; until then the issuer is IssuerUnavailable, and a fetch
    begins by itself at the end of the cooldown. A first fetch that fails is repeated sooner, at growing intervals.
    """

    MIN_SOFT_AGE, MAX_SOFT_AGE = 60.0, 900.0
    MAX_UNKNOWN, UNKNOWN_SECONDS = 128, 60.0
    SIGNER_COOLDOWN = 1.0
    """The cooldown for the key of a revocation list: not every client can make an issuer send one."""
    OVERDUE_SECONDS = 60.0
    """Keys that nothing has tried to refresh for so long are not used before a refresh: the process was frozen."""

    def __init__(
        self,
        source: Callable[[], Awaitable[JSONDocument]],
        *,
        soft_age: float = 300.0,
        hard_age: float = 86_400.0,
        cooldown: float = 30.0,
        clock: Callable[[], float] | None = None,
        observer: Observer = noop,
    ) -> None:
        """`source`: fetches the JWK set; it is called in the background thread, as `observer` is for each fetch."""
        super().__init__()
        clock = clock or ElapsedTime()
        self.job = Job(self._fetch, clock=clock)
        self._source, self._observe = source, observer
        self._soft_age, self._hard_age, self._cooldown, self._clock = soft_age, hard_age, cooldown, clock
        self._stale_at = self._overdue_at = self._expires_at = self._next_attempt = self._signer_attempt = NEVER
        self._failures = 0
        self._asked: dict[str, None] = {}
        self._unknown: Mapping[str, float] = {}

    @property
    def is_usable(self) -> bool:
        """Whether there are keys, and they are not too old."""
        return self._clock() < self._expires_at

    def find(self, kid: str | None) -> VerifyingKey | None:
        """Return the key, if it is in the set; begin a refresh in the background if the set is stale."""
        now = self._clock()
        if kid is None or now >= self._overdue_at:
            return None
        if now >= self._stale_at:
            self._observe(VerificationEvent("stale_keys_used"))
            if now >= self._next_attempt:
                self.job.run()
        return self._keys.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        """Return the key after a fetch, within the limits of the class. Raise InvalidToken, IssuerUnavailable."""
        self._check_known(kid)
        return await self._find_after_fetch(kid, self._next_attempt)

    async def fetch_signer(self, kid: str) -> VerifyingKey:
        """Return the key of a revocation list after a fetch: one in each second at most. Raise as `fetch` does.

        Call it for a list that can be parsed and has the right `typ` and `iss`.
        """
        return await self._find_after_fetch(kid, self._signer_attempt)

    async def _find_after_fetch(self, kid: str, next_attempt: float) -> VerifyingKey:
        is_first = not self._asked
        if len(self._asked) < self.MAX_UNKNOWN:
            self._asked[kid] = None
        now = self._clock()
        if self.job.is_running or now >= next_attempt:
            await wait(self.job.run())
        else:
            self._observe(VerificationEvent("fetch_postponed"))
        now = self._clock()
        if now < self._expires_at and kid in self._keys:
            return self._keys[kid]
        self._check_known(kid)
        due = next_attempt if now < next_attempt else self._next_attempt
        # Anybody can send tokens of unknown keys: one of them wakes the thread, and not each.
        if is_first or due < self._next_attempt or not self.job.is_active:
            self.job.run_within(due - now)
        reason = "the issuer's keys cannot be fetched" if self._failures else "the key is not known yet"
        raise IssuerUnavailable(reason, retry_after=max(1, math.ceil(self._next_attempt - now)))

    def _check_known(self, kid: str) -> None:
        """Raise InvalidToken for a key that was revoked, or that the issuer did not have when it was asked last."""
        if kid in self._revoked:
            raise InvalidToken("revoked_key")
        now = self._clock()
        if now < self._expires_at and now < self._unknown.get(kid, NEVER):
            self._observe(VerificationEvent("unknown_key"))
            raise InvalidToken("unknown_key")

    async def _fetch(self) -> float:
        """Fetch the set once. Return the seconds until the next fetch."""
        started = time.perf_counter()
        asked, self._asked = self._asked, {}
        try:
            document = await self._source()
            keys = usable_keys(document.members)
        except Exception as error:
            # No failure of the network may reach the requests that wait for this.
            self._record_failure(str(error) or type(error).__name__, asked, started)
        else:
            if keys or not self._published:
                self._accept(keys, document.max_age, asked)
                self._observe(VerificationEvent("keys_fetched", seconds=time.perf_counter() - started))
            else:
                self._record_failure("the new set has no usable key", asked, started)
        due = self._next_attempt if self._asked else max(self._stale_at, self._next_attempt)
        return max(0.0, due - self._clock())

    def _accept(self, keys: Mapping[str, VerifyingKey], max_age: int | None, asked: Iterable[str]) -> None:
        now = self._clock()
        soft_age = self._soft_age if max_age is None else min(max(max_age, self.MIN_SOFT_AGE), self.MAX_SOFT_AGE)
        removed = self._published.keys() - keys.keys()
        still_unknown = [kid for kid, until in self._unknown.items() if now < until]
        lacking = (kid for kid in (*removed, *tuple(asked), *still_unknown) if kid not in keys)
        self._unknown = dict.fromkeys(islice(lacking, self.MAX_UNKNOWN), now + self.UNKNOWN_SECONDS)
        self._publish(keys)
        self._failures = 0
        # The jitter keeps processes that started together from fetching together.
        self._stale_at = now + soft_age * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, guards nothing
        self._expires_at = now + self._hard_age if keys else NEVER
        self._set_next_attempt(now, self._cooldown)

    def _record_failure(self, reason: str, asked: Mapping[str, None], started: float) -> None:
        self._failures += 1
        self._observe(VerificationEvent("key_fetch_failed", seconds=time.perf_counter() - started))
        log.warning("the issuer's keys could not be fetched (attempt %d): %s", self._failures, reason)
        pause = self._cooldown if self._published else min(self._cooldown, 2.0 ** min(self._failures - 1, 16))
        self._asked = {**asked, **self._asked}
        self._set_next_attempt(self._clock(), pause)

    def _set_next_attempt(self, now: float, pause: float) -> None:
        self._next_attempt, self._signer_attempt = now + pause, now + min(pause, self.SIGNER_COOLDOWN)
        self._overdue_at = min(self._expires_at, max(self._stale_at, self._next_attempt) + self.OVERDUE_SECONDS)
