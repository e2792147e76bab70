"""The refresh token: `amrt_` + base64url(key id ‖ handle ‖ generation ‖ HMAC-SHA256 over these) + a checksum.

The handle (160 random bits) finds the row. The generation counts the rotations. The HMAC proves that this service issued the
token, before the database is asked. A child is a function of its parent, so a retry gets the same child. The checksum (CRC32 in
base62, six characters) lets secret scanners recognise a token; it protects nothing.
"""

import hashlib
import hmac
import secrets
import struct

from authmint.errors import InvalidGrant
from authmint.jose import decode_base64url, encode_base64url
from authmint.values import value_type
from authmint_service.checksums import checksum
from authmint_service.secret_keys import SecretKeys

PREFIX = "amrt_"
HANDLE_BYTES = 20
MAX_GENERATION = 2**31 - 1

_LAYOUT = struct.Struct(f">B{HANDLE_BYTES}sI")
_MAC_LABEL = b"refresh-token/v1"
_MAC_BYTES = hashlib.sha256().digest_size
_SIGNED_LENGTH = len(PREFIX) - (-(_LAYOUT.size + _MAC_BYTES) * 4 // 3)
"""Of the text before the checksum."""


@value_type(repr=False)
class RefreshToken:
    """The content of a refresh token."""

    key_id: int
    handle: bytes
    generation: int

    def child(self) -> "RefreshToken":
        """Return the token that replaces this one. It keeps the key, so that every process makes the same child."""
        return RefreshToken(self.key_id, self.handle, self.generation + 1)


class UnknownKey(InvalidGrant):
    """A refresh token was made with none of the keys of this process. Anyone can write such a token."""

    default_description = "The refresh token is not valid."

    def __init__(self, key_id: int) -> None:
        super().__init__()
        self.key_id = key_id


class RefreshTokenCodec:
    """Encodes and decodes refresh tokens. The keys never enter the database, so a dump of it holds no usable token."""

    def __init__(self, keys: SecretKeys) -> None:
        """`keys`: the current one is for new sessions."""
        # Copies of a keyed HMAC cost less than new ones. Each refresh needs two.
        self._keys, self._macs = keys, {key_id: hmac.new(key, _MAC_LABEL, "sha256") for key_id, key in keys.items()}
        self._fingerprints = keys.fingerprints

    def fingerprint(self, key_id: int) -> bytes:
        """Return the fingerprint of one of the keys."""
        return self._fingerprints[key_id]

    def create(self) -> RefreshToken:
        """Return the first token of a new session, with a random handle."""
        return RefreshToken(self._keys.current_id, secrets.token_bytes(HANDLE_BYTES), 0)

    def encode(self, token: RefreshToken) -> str:
        """Return the text that the client gets."""
        body = _LAYOUT.pack(token.key_id, token.handle, token.generation)
        text = PREFIX + encode_base64url(body + self._mac(token.key_id, body))
        return text + checksum(text)

    def decode(self, text: str) -> RefreshToken:
        """Return the content of a refresh token. Raise InvalidGrant.

        Raise UnknownKey unless its MAC was made with one of the keys: another process may have that key.
        """
        signed, last = text[:_SIGNED_LENGTH], text[_SIGNED_LENGTH:]
        try:
            content = decode_base64url(signed.removeprefix(PREFIX))
        except ValueError as error:
            raise InvalidGrant("The refresh token is malformed.") from error
        if not text.startswith(PREFIX) or len(content) != _LAYOUT.size + _MAC_BYTES or checksum(signed) != last:
            raise InvalidGrant("The refresh token is malformed.")
        body, mac = content[: _LAYOUT.size], content[_LAYOUT.size :]
        key_id, handle, generation = _LAYOUT.unpack(body)
        if key_id not in self._keys or not hmac.compare_digest(self._mac(key_id, body), mac):
            raise UnknownKey(key_id)
        if generation >= MAX_GENERATION:
            raise InvalidGrant("The refresh token is not valid.")
        return RefreshToken(key_id, handle, generation)

    def _mac(self, key_id: int, body: bytes) -> bytes:
        mac = self._macs[key_id].copy()
        mac.update(body)
        return mac.digest()


def has_refresh_token_prefix(text: str) -> bool:
    """Return whether `text` begins like a refresh token. Only `RefreshTokenCodec.decode` can say whether it is one."""
    return text.startswith(PREFIX)
