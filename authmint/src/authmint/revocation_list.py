"""The revocation list: the verified document, and how one list follows another (docs/revocation-list.md).

Decisions alone: no network, no clock. `revoked_entries` has what a list says, `revocation_list_follower` fetches lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from authmint.claims import MAX_TIME
from authmint.errors import InvalidToken
from authmint.principal import Principal
from authmint.revoked_entries import RevokedEntries

MEDIA_TYPE = "revocation-list+jwt"
MAX_BYTES = 16_777_216
"""Of a list, as it is sent."""
MAX_AHEAD_SECONDS = 300
"""How far ahead of the follower's clock a list may be."""
STALE_SECONDS = 60.0
"""A list that is older is no longer trusted to be complete."""


@runtime_checkable
class RevocationCheck(Protocol):
    """Knows which tokens of one issuer were revoked."""

    @property
    def is_overdue(self) -> bool:
        """Whether to `catch_up` before `check`."""

    async def catch_up(self) -> None:
        """Learn what was revoked lately, within some seconds."""

    def check(self, token: Principal, checked_by: object = None) -> object:
        """Raise InvalidToken for a revoked token, and IssuerUnavailable when that cannot be known.

        Return what it was checked by. A later check that is given this looks nothing up while nothing new is known.
        """


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list; with `since`, a delta."""

    issued_at: int
    """When the issuer read its database, by the database's clock: seconds since the epoch."""
    serial: int
    """The same moment in milliseconds."""
    since: int | None
    """A delta has what was written later than a minute before this time (milliseconds); None: the list is whole."""
    entries: RevokedEntries

    @classmethod
    def from_claims(cls, members: Mapping[str, Any], *, issuer: str) -> "RevocationList":
        """Return the list in a verified payload. Raise InvalidToken for anything else than a list of `issuer`."""
        if members.get("iss") != issuer:
            raise InvalidToken("wrong_issuer")
        serial = _milliseconds(members.get("serial"))
        since = _milliseconds(members["since"]) if "since" in members else None
        issued_at = members.get("iat")
        # `True` is an int to Python.
        if type(issued_at) is not int or issued_at != serial // 1000:
            raise InvalidToken("malformed_list")
        return cls(issued_at, serial, since, RevokedEntries.from_claims(members))

    def to_claims(self, issuer: str) -> dict[str, Any]:
        """Return the members of the document."""
        times = {"iss": issuer, "iat": self.issued_at, "serial": self.serial}
        delta = {} if self.since is None else {"since": self.since}
        return {**times, **delta, **self.entries.to_claims()}

    def without_ended(self, now: float) -> "RevocationList":
        """Return the list with the entries that are still needed. `now`: seconds since the epoch."""
        entries = self.entries.without_ended(now)
        return self if entries is self.entries else replace(self, entries=entries)


def accept_list(known: RevocationList | None, received: RevocationList, now: float) -> RevocationList:
    """Return the list that a follower has after it received one. Raise InvalidToken for a list that it must ignore.

    So a copy of an older list takes nothing back, wherever it comes from. `now`: the follower's clock, seconds since the epoch.
    """
    if received.issued_at > now + MAX_AHEAD_SECONDS:
        raise InvalidToken("list_from_the_future")
    if known is not None and received.serial < known.serial:
        raise InvalidToken("older_list")
    if received.since is None:
        return received
    if known is None or received.since > known.serial:
        raise InvalidToken("delta_does_not_fit")
    return replace(received, since=None, entries=known.entries.merged(received.entries))


def _milliseconds(value: object) -> int:
    if type(value) is not int or not 0 <= value < (MAX_TIME + 1) * 1000:
        raise InvalidToken("malformed_list")
    return value
