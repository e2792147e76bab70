"""Tokens that were verified before: a client sends the same one hundreds of times, and the signature is most of the cost.

A token is remembered until it expires, for as long as the key that verified it is still the issuer's: a refreshed key set has
new key objects, so with it everything is forgotten. Bounded; the oldest goes first. Only the event loop's thread touches it.
"""

from dataclasses import dataclass

from authmint.jose import VerifyingKey
from authmint.key_sets import KeySet
from authmint.principal import Principal


@dataclass(frozen=True, slots=True)
class CachedToken:
    """A verified token: what it says, by which key, and the time (seconds since the epoch) in which that holds."""

    principal: Principal
    keys: KeySet
    key: VerifyingKey
    key_id: str | None
    valid_from: float
    valid_until: float


class TokenCache:
    """Verified tokens by their text."""

    def __init__(self, size: int) -> None:
        """`size`: tokens, at most; 0 remembers nothing."""
        self._size = size
        self._tokens: dict[str, CachedToken] = {}

    def find(self, token: str, now: float) -> Principal | None:
        """The principal of a token that would be verified again with the same result."""
        remembered = self._tokens.get(token)
        if remembered is None:
            return None
        is_good = remembered.valid_from <= now < remembered.valid_until
        # Asking for the key also tells a remote set that it is in use, and lets it notice that it has become too old.
        if not is_good or remembered.keys.find(remembered.key_id) is not remembered.key:
            del self._tokens[token]
            return None
        return remembered.principal

    def remember(self, token: str, remembered: CachedToken) -> None:
        """Keeps a verified token; the oldest makes room for it."""
        if self._size == 0:
            return
        if len(self._tokens) >= self._size:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = remembered

    def clear(self) -> None:
        """Forgets them all."""
        self._tokens.clear()
