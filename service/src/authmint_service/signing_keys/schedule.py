"""The states of a key. They follow from times alone, so a key changes its state in all processes at once, without a write.

published_at        active_from            retired_at          withdrawn_at
     |     next          |       active         |       retired       |   withdrawn
     '-- at least twice MAX_AGE --'             '-- until its last token has expired --'
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

MAX_AGE = 300
"""Seconds for which clients may cache the published keys."""
JWKS_STALE_SECONDS = 60
"""Seconds for which a cache may serve stale keys while it fetches new ones (RFC 5861)."""
ANNOUNCE_SECONDS = 2 * MAX_AGE + 60
"""Seconds between a key's publication and its first signature. Other processes publish it a second or two after the first."""
BACKDATE_SECONDS = 1.0
"""Seconds by which a key that signs at once is backdated: processes know the database's time to some milliseconds only."""
MAX_LEEWAY = 300
"""Seconds for which a resource server may accept an expired token, at most."""


class State(StrEnum):
    """The state of a key at one time."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


PUBLISHED = frozenset({State.NEXT, State.ACTIVE, State.RETIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The times of one key, in seconds since the epoch, by the database's clock."""

    published_at: float
    active_from: float
    retired_at: float | None = None
    """None: no later key is known."""
    withdrawn_at: float | None = None
    revoked_at: float | None = None

    def state(self, now: float) -> State:
        if self.revoked_at is not None:
            return State.REVOKED
        if now < self.active_from:
            return State.NEXT
        if self.retired_at is None or now < self.retired_at:
            return State.ACTIVE
        return State.RETIRED if self.withdrawn_at is None or now < self.withdrawn_at else State.WITHDRAWN

    def changes_after(self, now: float) -> float:
        """Return when the next state begins; infinity if none is planned."""
        times = (self.active_from, self.retired_at, self.withdrawn_at)
        return min((time for time in times if time is not None and time > now), default=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """How keys rotate. Durations are seconds."""

    algorithm: str
    period: float
    """How long a key signs."""
    token_lifetime: int
    rsa_bits: int

    @property
    def retention_seconds(self) -> int:
        """How long a retired key stays published: the life of its last token, the leeway, and the time in caches."""
        return self.token_lifetime + MAX_LEEWAY + MAX_AGE + JWKS_STALE_SECONDS


class Scheduled(Protocol):
    """A key, as far as rotation is concerned."""

    @property
    def algorithm(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...


S = TypeVar("S", bound=Scheduled)


def open_keys(keys: Iterable[S]) -> list[S]:
    """Return the open keys: neither retired nor revoked, and with no later key planned. At most one."""
    return [key for key in keys if key.schedule.retired_at is None and key.schedule.revoked_at is None]


def next_active_from(keys: Iterable[Scheduled], policy: RotationPolicy, now: float) -> float | None:
    """Return from when a new key signs if one is due now; else None. Seconds since the epoch.

    | the open key                                       | a new key signs from                          |
    |----------------------------------------------------|-----------------------------------------------|
    | there is none                                      | now: no key has been published                |
    | is announced, not active yet                       | none is made                                  |
    | is for another algorithm                           | the end of the announcement                   |
    | is active, its period ends within ANNOUNCE_SECONDS | the end of the period, or of the announcement |
    | is active                                          | none is made                                  |
    """
    found = open_keys(keys)
    if not found:
        return now - BACKDATE_SECONDS
    last = found[0]
    if now < last.schedule.active_from:
        return None
    ends_at = last.schedule.active_from + policy.period
    if last.algorithm != policy.algorithm:
        return now + ANNOUNCE_SECONDS
    return max(now + ANNOUNCE_SECONDS, ends_at) if now >= ends_at - ANNOUNCE_SECONDS else None
