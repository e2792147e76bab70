"""When a key is what. States follow from times alone, so a key changes its state in all processes at once, without a write.

published_at        active_from            retired_at          withdrawn_at
     |     next          |       active         |       retired       |   withdrawn
     '-- at least twice MAX_AGE --'             '-- until its last token has expired --'
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

MAX_AGE = 300
"""Seconds that others may keep the published keys."""
JWKS_STALE_SECONDS = 60
"""Seconds for which a cache may answer with older ones while it asks again (RFC 5861)."""
ANNOUNCE_SECONDS = 2 * MAX_AGE + 60
"""Seconds between a key's publication and its first signature. Other processes publish it some seconds after the first."""
BACKDATE_SECONDS = 1.0
"""Seconds ago that a key which signs at once has begun: processes estimate the database's time to some milliseconds."""
MAX_LEEWAY = 300
"""Seconds for which a resource server may believe an expired token, at most."""


class State(StrEnum):
    """What a key is at one moment."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


PUBLISHED = frozenset({State.NEXT, State.ACTIVE, State.RETIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The times of one key, in seconds since the epoch by the database's clock."""

    published_at: float
    active_from: float
    retired_at: float | None = None
    """None: no other key follows yet."""
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
        """When the next state begins; infinity when none is foreseen."""
        times = (self.active_from, self.retired_at, self.withdrawn_at)
        return min((time for time in times if time is not None and time > now), default=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPolicy:
    """How keys follow each other. Durations are seconds."""

    algorithm: str
    period: float
    """How long a key signs."""
    token_lifetime: int
    rsa_bits: int

    @property
    def kept(self) -> int:
        """How long a retired key stays published: its last token's life, the leeway, and what caches add."""
        return self.token_lifetime + MAX_LEEWAY + MAX_AGE + JWKS_STALE_SECONDS


class Scheduled(Protocol):
    """A key, as far as its turn is concerned."""

    @property
    def algorithm(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...


S = TypeVar("S", bound=Scheduled)


def open_keys(keys: Iterable[S]) -> list[S]:
    """The key after which none comes yet: one, or none at all."""
    return [key for key in keys if key.schedule.retired_at is None and key.schedule.revoked_at is None]


def next_active_from(keys: Iterable[Scheduled], policy: RotationPolicy, now: float) -> float | None:
    """From when a new key shall sign, if one is to be made now; None if not.

    | the last key in line                           | a new one signs from              |
    |------------------------------------------------|-----------------------------------|
    | there is none                                  | at once: nobody has seen any      |
    | is announced, and does not sign yet            | none is made                      |
    | is for another algorithm                       | as soon as it was announced       |
    | signs, and its period ends before a notice     | the end of the period, or as soon as announced |
    | signs                                          | none is made                      |
    """
    line = open_keys(keys)
    if not line:
        return now - BACKDATE_SECONDS
    last = line[0]
    if now < last.schedule.active_from:
        return None
    ends_at = last.schedule.active_from + policy.period
    if last.algorithm != policy.algorithm:
        return now + ANNOUNCE_SECONDS
    return max(now + ANNOUNCE_SECONDS, ends_at) if now >= ends_at - ANNOUNCE_SECONDS else None
