"""Tokens that were verified before: a client sends the same one hundreds of times, and the signature is most of the cost.

A token is cached until it expires, for as long as the key that verified it is still the issuer's. A refreshed key set has new
key objects, so it invalidates the whole cache. The cache is bounded and evicts the oldest token first. Any thread may use it.
"""

from contextlib import suppress
from dataclasses import dataclass

from authmint.jose import VerifyingKey
from authmint.key_sets import KeySet
from authmint.principal import Principal


@dataclass(slots=True)
class CachedToken:
    """A verified token: its principal, the key that verified it, and when it is valid (seconds since the epoch)."""

    principal: Principal
    keys: KeySet
    key: VerifyingKey
    key_id: str | None
    valid_from: float
    valid_until: float
    checked_by: object = None
    """What the revocation check returned for it last: while that is the same, it need not be checked again."""


class TokenCache:
    """Verified tokens by their text."""

    def __init__(self, size: int) -> None:
        """`size`: tokens, at most; 0 caches nothing."""
        self._size = size
        self._tokens: dict[str, CachedToken] = {}

    def find(self, token: str, now: float) -> CachedToken | None:
        """Return a token that would be verified again with the same result."""
        cached = self._tokens.get(token)
        if cached is None:
            return None
        is_valid = cached.valid_from <= now < cached.valid_until
        # `keys.find` also records that a remote set is in use, and lets it notice that it is stale.
        if not is_valid or cached.keys.find(cached.key_id) is not cached.key:
            self._tokens.pop(token, None)
            return None
        return cached

    def store(self, token: str, cached: CachedToken) -> None:
        """Cache a verified token; evict the oldest if the cache is full."""
        if self._size == 0:
            return
        while len(self._tokens) >= self._size:
            # Another thread may evict the same one.
            with suppress(StopIteration, RuntimeError):
                self._tokens.pop(next(iter(self._tokens)), None)
        self._tokens[token] = cached

    def clear(self) -> None:
        """Evict all tokens."""
        self._tokens.clear()
