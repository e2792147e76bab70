"""Sign claims as a compact JWS (RFC 7515, section 7.1)."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from authmint.jose.encoding import encode_base64url
from authmint.jose.keys import SharedSecretKey, SigningKey

# One encoder for all tokens: `json.dumps` makes one for each.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _to_json(claims: Mapping[str, Any]) -> bytes:
    return _encoder.encode(claims).encode()


class JWSWriter:
    """Writes all of a JWS but the signature, for code that holds the key."""

    def __init__(self, *, algorithm: str, kid: str | None, to_json: Callable[[Mapping[str, Any]], bytes] = _to_json) -> None:
        """`to_json`: a faster encoder than Python's own, for code that writes many tokens."""
        self._algorithm, self._kid, self._to_json = algorithm, kid, to_json
        self._headers: dict[str, bytes] = {}

    def signing_input(self, claims: Mapping[str, Any], *, typ: str) -> bytes:
        """Return the input of the signature. `claims` is not changed; `typ`: the media type without `application/`."""
        header = self._headers.get(typ) or self._header(typ)
        payload = encode_base64url(self._to_json(claims))
        return header + b"." + payload.encode()

    @staticmethod
    def compact(signing_input: bytes, signature: bytes) -> str:
        """Return the token of a signature."""
        return f"{signing_input.decode()}.{encode_base64url(signature)}"

    def _header(self, typ: str) -> bytes:
        members = {"alg": self._algorithm, "typ": typ, "kid": self._kid}
        present = {name: value for name, value in members.items() if value is not None}
        header = encode_base64url(json.dumps(present, separators=(",", ":")).encode()).encode()
        # Only a few types exist, and they come from code, never from a request.
        self._headers[typ] = header
        return header


class JWTSigner:
    """Signs with one key."""

    def __init__(self, key: SigningKey | SharedSecretKey) -> None:
        self.key = key
        self._writer = JWSWriter(algorithm=key.algorithm, kid=key.kid)

    def sign(self, claims: Mapping[str, Any], *, typ: str = "at+jwt") -> str:
        """Return the token. `claims` is not changed; `typ`: the media type without `application/` (RFC 8725, 3.11)."""
        signing_input = self._writer.signing_input(claims, typ=typ)
        return self._writer.compact(signing_input, self.key.sign(signing_input))
