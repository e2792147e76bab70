"""The place of a rotation: what tells a client that lost a response from someone else who holds a copy of its token.

A place is the network of an address and a user agent. It is stored as a keyed hash, so the row tells neither: a byte with the
id of the key, a byte that says what was hashed, and 16 bytes. Hashes of different keys or of different things cannot be
compared; then the place counts as the same, since a changed setting must sign nobody out. The key is that of the refresh token,
so each process that can read the token can compare its place, and a refresh needs no key for something new.
"""

import hashlib
import hmac

from authmint_service.ip_addresses import network_bytes
from authmint_service.request_source import RequestSource
from authmint_service.secret_keys import SecretKeys

KEY_LABEL = "rotation-place/v1"
HASH_BYTES = 16
_USER_AGENT, _NETWORK_AND_USER_AGENT = b"\x02", b"\x03"
"""0 and 1 were the same with another hash."""


class RotationPlaces:
    """Hashes places, and compares them."""

    def __init__(self, keys: SecretKeys, *, has_addresses: bool) -> None:
        """`keys`: those of refresh tokens, of which others are derived.

        `has_addresses`: whether the addresses of requests are those of clients. That is known when proxies are configured, or
        that there are none; otherwise all clients may have the address of one proxy, or of many.
        """
        self._keys = keys.derive(KEY_LABEL)
        self._kind = _NETWORK_AND_USER_AGENT if has_addresses else _USER_AGENT

    def hash(self, source: RequestSource, key_id: int) -> bytes:
        """Return the hash that is stored with a rotation. `key_id`: of the token that is redeemed."""
        return self._hash(key_id, source)

    def is_same(self, stored: bytes | None, source: RequestSource) -> bool:
        """Return whether a request comes from the place of a rotation. `stored`: its hash, None if none was stored."""
        if not stored or stored[0] not in self._keys or stored[1:2] != self._kind:
            return True
        return hmac.compare_digest(stored, self._hash(stored[0], source))

    def _hash(self, key_id: int, source: RequestSource) -> bytes:
        network = network_bytes(source.ip_address) if self._kind == _NETWORK_AND_USER_AGENT else b""
        # The length divides the two: no user agent can continue a network.
        place = self._kind + bytes([len(network)]) + network + (source.user_agent or "").encode("utf-8", "replace")
        # Keyed BLAKE2 costs a fifth of what HMAC does: this is made for every refresh.
        digest = hashlib.blake2b(place, key=self._keys[key_id], digest_size=HASH_BYTES).digest()
        return bytes([key_id]) + self._kind + digest
