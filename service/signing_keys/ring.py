"""The keys in the memory of one process: the signer of the active one, and the public halves of all.

Replaced as a whole on the event loop's thread; readers never wait. The ring keeps serving while the database is away.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mintmark.errors import TemporarilyUnavailable
from mintmark.jose import Signer
from mintmark.key_sets import StaticKeySet
from service.signing_keys.store import StoredKey


class KeyRing:
    """Empty until `replace`."""

    def __init__(self) -> None:
        self._signer: Signer | None = None
        self._jwks: Mapping[str, Any] | None = None
        self.verifying_keys = StaticKeySet()
        """The same keys for our own resource server, `/users/me`."""

    @property
    def is_loaded(self) -> bool:
        return self._signer is not None

    @property
    def signer(self) -> Signer:
        """Raises TemporarilyUnavailable while no key is loaded, as `jwks` does."""
        if self._signer is None:
            raise TemporarilyUnavailable("The signing keys are not loaded yet. Try again.")
        return self._signer

    @property
    def jwks(self) -> Mapping[str, Any]:
        """The public keys as a JWK set (RFC 7517, section 5)."""
        if self._jwks is None:
            raise TemporarilyUnavailable("The signing keys are not loaded yet. Try again.")
        return self._jwks

    def replace(self, keys: Sequence[StoredKey]) -> None:
        """Other keys instead of these. Without an active one nothing changes."""
        active = next((stored.key for stored in keys if stored.is_active), None)
        if active is None:
            return
        if self._signer is None or self._signer.key.kid != active.kid:
            self._signer = Signer(active)
        self._jwks = {"keys": [stored.key.public_jwk() for stored in keys]}
        self.verifying_keys.replace(self._jwks)
