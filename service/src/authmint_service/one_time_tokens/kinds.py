"""Kinds of one-time values, who they belong to, and how they are written."""

import re
import secrets
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from authmint.jose import decode_base64url, encode_base64url
from authmint_service.checksums import LENGTH, checksum

PREFIX = "amlt_"
VALUE_BYTES = 20
"""160 random bits."""
MAX_TYPED = 64
"""Characters of a typed code, with all spaces."""

_LINK = re.compile(rf"({PREFIX}([A-Za-z0-9_-]{{27,48}}))([0-9A-Za-z]{{{LENGTH}}})")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a value belongs to: an account, a client, or no one yet."""

    account_id: str | None = None
    """A UUID."""
    client_id: str | None = None

    def __post_init__(self) -> None:
        if self.account_id is not None and self.client_id is not None:
            raise ValueError("a one-time value belongs to an account or to a client, not to both")

    def fields(self) -> tuple[bytes, bytes]:
        """Return what the MAC covers of it."""
        if self.account_id is not None:
            return b"account", uuid.UUID(self.account_id).bytes
        return (b"client", self.client_id.encode()) if self.client_id is not None else (b"", b"")


@dataclass(frozen=True, slots=True)
class Link:
    """A value of 160 random bits, for a link. An account's link has its id in it, as who follows a link says no name."""

    def new_value(self) -> bytes:
        return secrets.token_bytes(VALUE_BYTES)

    def encode(self, value: bytes, owner: Owner) -> str:
        """Return the text that is mailed or printed."""
        account = b"" if owner.account_id is None else uuid.UUID(owner.account_id).bytes
        text = PREFIX + encode_base64url(value + account)
        return text + checksum(text)

    def decode(self, text: str) -> tuple[bytes, Owner] | None:
        """Return the value and the account that the text names, or None if it has not this form."""
        shape = _LINK.fullmatch(text)
        if shape is None or checksum(shape[1]) != shape[3]:
            return None
        try:
            content = decode_base64url(shape[2])
        except ValueError:
            return None
        value, account = content[:VALUE_BYTES], content[VALUE_BYTES:]
        if len(account) not in (0, 16):
            return None
        return value, Owner(account_id=str(uuid.UUID(bytes=account))) if account else Owner()


@dataclass(frozen=True, slots=True)
class Code:
    """A short code that a person types. An account has one of each kind at a time, and some tries for it."""

    digits: int = 8
    max_tries: int = 5

    def new_value(self) -> bytes:
        return f"{secrets.randbelow(10**self.digits):0{self.digits}}".encode()

    def decode(self, text: str) -> bytes | None:
        """Return the digits that were typed, without spaces and hyphens and of any width. None if they cannot be a code."""
        if len(text) > MAX_TYPED:
            return None
        typed = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", text))
        return typed.encode() if re.fullmatch(rf"[0-9]{{{self.digits}}}", typed) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a value opens. Each feature lists its kinds, and `check_kinds` refuses a name that two have."""

    name: str
    """As `password_reset`. It is under the MAC."""
    lifetime: int
    """Seconds."""
    form: Link | Code = Link()


def check_kinds(kinds: Iterable[Kind]) -> None:
    """Raise ValueError if two kinds have one name: the values of one would open what the other is for."""
    for name, count in Counter(kind.name for kind in kinds).items():
        if count > 1:
            raise ValueError(f"two kinds of one-time values have the name {name}")
