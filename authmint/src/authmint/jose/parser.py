"""Parse a token, before any signature is checked (RFC 7515, sections 4 and 7.1; RFC 8725, section 3).

Limits are checked before anything is decoded. Every failure is InvalidToken with a reason.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from authmint.errors import InvalidToken
from authmint.jose.encoding import decode_base64url, read_json_object

MAX_TOKEN_LENGTH = 8192
MAX_HEADER_LENGTH = 1024
MAX_KEY_ID_LENGTH = 256

ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""RFC 9068, section 2.1; compared in lower case."""

# `crit` and `b64` change what is signed, `jku`, `jwk`, `x5u` and `x5c` let a token bring its own key, `zip` and `enc` belong to
# other formats. An access token needs none of them, so none is ignored.
FORBIDDEN_HEADER_MEMBERS = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class Header:
    """The header members that matter here. Nothing in them is trusted: `key_id` only looks up a key that is known already."""

    algorithm: str
    key_id: str | None
    media_type: str | None
    """`typ`, in lower case."""


@dataclass(frozen=True, slots=True)
class CompactJWS:
    """A token in its three parts. The payload stays bytes until `VerifyingKey.verify` has checked the signature."""

    header: Header
    signing_input: bytes
    payload: bytes
    signature: bytes


class Parser:
    """Parses compact tokens, and caches their headers: all tokens of one key have the same.

    `types`: the values of `typ` that are accepted, in lower case; None accepts any, for a JWS that is not an access token.
    `max_length`: characters.
    """

    MAX_CACHED_HEADERS = 64

    def __init__(self, *, types: Collection[str] | None = ACCESS_TOKEN_TYPES, max_length: int = MAX_TOKEN_LENGTH) -> None:
        self._max_length = max_length
        self._types = None if types is None else frozenset(types)
        self._headers: dict[str, Header] = {}

    def parse(self, token: str) -> CompactJWS:
        """Return the parts of `token`. Raise InvalidToken."""
        if len(token) > self._max_length:
            raise InvalidToken("token_too_long")
        if not token.isascii():
            raise InvalidToken("not_ascii")
        parts = token.split(".")
        if len(parts) != 3 or not parts[0] or not parts[2]:
            raise InvalidToken("malformed_token")
        header = self._headers.get(parts[0]) or self._read_header(parts[0])
        try:
            payload, signature = decode_base64url(parts[1]), decode_base64url(parts[2])
        except ValueError as error:
            raise InvalidToken("malformed_base64") from error
        return CompactJWS(header, token[: token.rindex(".")].encode("ascii"), payload, signature)

    def _read_header(self, part: str) -> Header:
        if len(part) > MAX_HEADER_LENGTH:
            raise InvalidToken("header_too_long")
        try:
            header = _header(read_json_object(decode_base64url(part)))
        except ValueError as error:
            raise InvalidToken("malformed_header") from error
        if self._types is not None and header.media_type not in self._types:
            raise InvalidToken("wrong_type")
        if len(self._headers) >= self.MAX_CACHED_HEADERS:
            self._headers.clear()
        self._headers[part] = header
        return header


def _header(members: dict[str, Any]) -> Header:
    algorithm, key_id, media_type = members.get("alg"), members.get("kid"), members.get("typ")
    if not FORBIDDEN_HEADER_MEMBERS.isdisjoint(members):
        raise InvalidToken("forbidden_header")
    if not isinstance(algorithm, str) or algorithm.lower() == "none":
        raise InvalidToken("wrong_algorithm")
    if "kid" in members and not (isinstance(key_id, str) and 0 < len(key_id) <= MAX_KEY_ID_LENGTH and key_id.isprintable()):
        raise InvalidToken("malformed_kid")
    if "typ" in members and not isinstance(media_type, str):
        raise InvalidToken("wrong_type")
    return Header(algorithm, key_id, media_type.lower() if media_type is not None else None)


def read_payload(payload: bytes) -> dict[str, Any]:
    """Return the claims in a verified payload, not yet checked. Raise InvalidToken."""
    try:
        return read_json_object(payload)
    except ValueError as error:
        raise InvalidToken("malformed_payload") from error
