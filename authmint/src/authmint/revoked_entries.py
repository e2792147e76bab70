"""What a revocation list says: revoked sessions and tokens, the epochs below which tokens are refused, and revoked keys.

Immutable values, as docs/revocation-list.md specifies them: no network, no clock. A list with a million entries takes eight
bytes of memory for each.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from operator import lt
from typing import Any, Literal

from authmint.claims import MAX_EPOCH, MAX_TIME
from authmint.errors import InvalidToken
from authmint.jose import decode_base64url, encode_base64url
from authmint.principal import Principal

ENTRY_BYTES = 8
MAX_MINUTE = MAX_TIME // 60
BELOW_SECONDS = 4200
"""How long an epoch is remembered: an hour, the longest life of a token; five minutes of leeway; five for clocks."""

Reason = Literal["revoked", "epoch_revoked"]


def entry_of(text: str) -> int:
    """Return the entry of a `sid` or `jti`: the first 8 bytes of its SHA-256."""
    return int.from_bytes(sha256(text.encode()).digest()[:ENTRY_BYTES], "big")


@dataclass(frozen=True, slots=True)
class Packs:
    """Entries, grouped by the minute until which they are needed."""

    by_minute: "Mapping[int, array[int]]" = field(default_factory=dict)
    """In ascending order, none twice; the minutes are those since the epoch."""

    @classmethod
    def of_bytes(cls, by_minute: Mapping[int, bytes]) -> "Packs":
        """Return the packs with these contents. Raise ValueError if one is not whole or not in ascending order."""
        return cls({minute: _read_pack(content) for minute, content in by_minute.items()})

    @classmethod
    def from_member(cls, member: object) -> "Packs":
        """Return the packs in a member of a document. Raise InvalidToken."""
        if not isinstance(member, dict) or not all(isinstance(pack, str) for pack in member.values()):
            raise InvalidToken("malformed_list")
        try:
            return cls.of_bytes({_read_minute(minute): decode_base64url(pack) for minute, pack in member.items()})
        except ValueError as error:
            raise InvalidToken("malformed_list") from error

    def to_member(self) -> dict[str, str]:
        """Return the member of the document."""
        return {str(minute): _write_pack(pack) for minute, pack in sorted(self.by_minute.items())}

    def __contains__(self, entry: int) -> bool:
        return any(_has(pack, entry) for pack in self.by_minute.values())

    def __bool__(self) -> bool:
        return bool(self.by_minute)

    def __len__(self) -> int:
        return sum(map(len, self.by_minute.values()))

    def merged(self, other: "Packs") -> "Packs":
        """Return the entries of both; itself if `other` has no more."""
        more = {}
        for minute, pack in other.by_minute.items():
            joined = _join(self.by_minute.get(minute), pack)
            if joined is not None:
                more[minute] = joined
        return Packs({**self.by_minute, **more}) if more else self

    def without_ended(self, now: float) -> "Packs":
        """Return the entries that are still needed; itself if all are. `now`: seconds since the epoch."""
        needed = {minute: pack for minute, pack in self.by_minute.items() if now < minute * 60}
        return self if len(needed) == len(self.by_minute) else Packs(needed)


def _read_pack(content: bytes) -> "array[int]":
    pack = array("Q")
    pack.frombytes(content)
    if sys.byteorder == "little":
        pack.byteswap()
    if not all(map(lt, pack, islice(pack, 1, None))):
        raise ValueError("not in ascending order")
    return pack


def _write_pack(pack: "array[int]") -> str:
    written = array("Q", pack)
    if sys.byteorder == "little":
        written.byteswap()
    return encode_base64url(written.tobytes())


def _has(pack: "array[int]", entry: int) -> bool:
    place = bisect_left(pack, entry)
    return place < len(pack) and pack[place] == entry


def _join(known: "array[int] | None", pack: "array[int]") -> "array[int] | None":
    """Return the entries of both; None if they are those that are known."""
    if known is None:
        return pack
    # Looked up one by one, so that other threads may run: all else stops them for as long as `known` is large.
    new = [] if known == pack else [entry for entry in pack if not _has(known, entry)]
    # Two sorted runs: sorting merges them in one pass.
    return array("Q", sorted([*known, *new])) if new else None


def _read_minute(text: str) -> int:
    # One value, one spelling: else two packs could have one minute.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and (text == "0" or text[0] != "0")):
        raise ValueError("not a minute")
    minute = int(text)
    if minute > MAX_MINUTE:
        raise ValueError("a minute after the year 9999")
    return minute


@dataclass(frozen=True, slots=True)
class Below:
    """The smallest epochs that are good: for accounts, clients and scopes by their names, and for all tokens."""

    accounts: Mapping[str, int] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    scopes: Mapping[str, int] = field(default_factory=dict)
    all: int | None = None

    @classmethod
    def from_member(cls, member: object) -> "Below":
        """Return the epochs in a member of a document. Raise InvalidToken."""
        if not isinstance(member, dict):
            raise InvalidToken("malformed_list")
        accounts, clients, scopes = (_read_epochs(member.get(name, {})) for name in ("accounts", "clients", "scopes"))
        if "all" in member and not _is_epoch(member["all"]):
            raise InvalidToken("malformed_list")
        return cls(accounts, clients, scopes, member.get("all"))

    def to_member(self) -> dict[str, Any]:
        """Return the member of the document, without what is empty."""
        named = {"accounts": self.accounts, "clients": self.clients, "scopes": self.scopes}
        member: dict[str, Any] = {name: dict(sorted(epochs.items())) for name, epochs in named.items() if epochs}
        return member if self.all is None else member | {"all": self.all}

    def __len__(self) -> int:
        return len(self.accounts) + len(self.clients) + len(self.scopes) + (self.all is not None)

    def refuses(self, token: Principal) -> bool:
        """Return whether the token was made before something was taken from it."""
        epoch = token.epoch
        if epoch is None:
            return len(self) > 0
        if self.all is not None and epoch < self.all:
            return True
        if epoch < self.accounts.get(token.sub, 0) or epoch < self.clients.get(token.client_id, 0):
            return True
        scopes = self.scopes
        return bool(scopes) and any(epoch < scopes.get(scope, 0) for scope in token.scopes)

    def merged(self, other: "Below") -> "Below":
        """Return the greater numbers of both; itself if `other` has none."""
        if len(other) == 0:
            return self
        accounts, clients = _greater(self.accounts, other.accounts), _greater(self.clients, other.clients)
        greatest = max((n for n in (self.all, other.all) if n is not None), default=None)
        merged = Below(accounts, clients, _greater(self.scopes, other.scopes), greatest)
        return self if merged == self else merged

    def without_ended(self, now: float) -> "Below":
        """Return the entries that are still needed; itself if all are. `now`: seconds since the epoch.

        What is not greater than the number for all tokens is not needed.
        """
        oldest = (now - BELOW_SECONDS) * 1000
        least = max(oldest, (self.all or 0) + 1)
        accounts, clients, scopes = (
            {name: n for name, n in epochs.items() if n >= least} for epochs in (self.accounts, self.clients, self.scopes)
        )
        below = Below(accounts, clients, scopes, self.all if self.all is not None and self.all >= oldest else None)
        return self if len(below) == len(self) else below


def _greater(mine: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    return {**mine, **{name: n for name, n in more.items() if n > mine.get(name, -1)}}


def _read_epochs(member: object) -> Mapping[str, int]:
    if not isinstance(member, dict) or not all(map(_is_epoch, member.values())):
        raise InvalidToken("malformed_list")
    return member


def _is_epoch(value: object) -> bool:
    # `True` is an int to Python.
    return type(value) is int and 0 <= value <= MAX_EPOCH


@dataclass(frozen=True, slots=True)
class RevokedEntries:
    """All that a list says about tokens and keys."""

    sessions: Packs = field(default_factory=Packs)
    """By `sid`."""
    tokens: Packs = field(default_factory=Packs)
    """By `jti`: tokens that belong to no session."""
    below: Below = field(default_factory=Below)
    keys: frozenset[str] = frozenset()
    """The `kid` of each key that was revoked."""

    @classmethod
    def from_claims(cls, members: Mapping[str, Any]) -> "RevokedEntries":
        """Return the entries of a verified document. Raise InvalidToken for a member of another form."""
        keys = members.get("keys", [])
        if not isinstance(keys, list) or not all(isinstance(kid, str) for kid in keys):
            raise InvalidToken("malformed_list")
        sessions, tokens = (Packs.from_member(members.get(name, {})) for name in ("sessions", "tokens"))
        return cls(sessions, tokens, Below.from_member(members.get("below", {})), frozenset(keys))

    def to_claims(self) -> dict[str, Any]:
        """Return the members of the document, without what is empty."""
        members = {
            "sessions": self.sessions.to_member(),
            "tokens": self.tokens.to_member(),
            "below": self.below.to_member(),
            "keys": sorted(self.keys),
        }
        return {name: value for name, value in members.items() if value}

    def __len__(self) -> int:
        return len(self.sessions) + len(self.tokens) + len(self.below) + len(self.keys)

    def reason(self, token: Principal) -> Reason | None:
        """Return why the token is refused; None if it is not."""
        if self.sessions and token.session_id is not None and entry_of(token.session_id) in self.sessions:
            return "revoked"
        if self.tokens and entry_of(token.claims["jti"]) in self.tokens:
            return "revoked"
        return "epoch_revoked" if self.below.refuses(token) else None

    def revokes(self, token: Principal) -> bool:
        """Return whether the token was revoked before it expired."""
        return self.reason(token) is not None

    def merged(self, other: "RevokedEntries") -> "RevokedEntries":
        """Return the entries of both; itself if `other` has no more."""
        sessions, tokens = self.sessions.merged(other.sessions), self.tokens.merged(other.tokens)
        below, keys = self.below.merged(other.below), self.keys | other.keys
        if sessions is self.sessions and tokens is self.tokens and below is self.below and keys == self.keys:
            return self
        return RevokedEntries(sessions, tokens, below, keys)

    def without_ended(self, now: float) -> "RevokedEntries":
        """Return the entries that are still needed; itself if all are. `now`: seconds since the epoch."""
        sessions, tokens = self.sessions.without_ended(now), self.tokens.without_ended(now)
        below = self.below.without_ended(now)
        if sessions is self.sessions and tokens is self.tokens and below is self.below:
            return self
        return replace(self, sessions=sessions, tokens=tokens, below=below)
