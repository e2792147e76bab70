"""Signs claims as a compact JWS (RFC 7515, section 7.1)."""

import json
from collections.abc import Mapping
from typing import Any

from mintmark.jose.encoding import encode_base64url
from mintmark.jose.keys import SharedSecretKey, SigningKey


class Signer:
    """Signs with one key, kept ready."""

    def __init__(self, key: SigningKey | SharedSecretKey) -> None:
        self.key = key
        self._headers: dict[str, bytes] = {}

    def sign(self, claims: Mapping[str, Any], *, typ: str = "at+jwt") -> str:
        """The token. `claims` is not changed; `typ` is the media type without `application/` (RFC 8725, section 3.11)."""
        header = self._headers.get(typ) or self._header(typ)
        payload = encode_base64url(json.dumps(claims, separators=(",", ":"), allow_nan=False).encode())
        signing_input = header + b"." + payload.encode()
        return f"{signing_input.decode()}.{encode_base64url(self.key.sign(signing_input))}"

    def _header(self, typ: str) -> bytes:
        members = {"alg": self.key.algorithm, "typ": typ, "kid": self.key.kid}
        present = {name: value for name, value in members.items() if value is not None}
        header = encode_base64url(json.dumps(present, separators=(",", ":")).encode()).encode()
        # Only a handful of types exist, and they come from code; nothing a caller sends ends up here.
        self._headers[typ] = header
        return header
