"""The states of a key. They follow from times alone, so a key changes its state in all processes at once, without a write.

published_at        active_from            retired_at          withdrawn_at
     |     next          |       active         |       retired       |   withdrawn
     '-- at least twice MAX_AGE --'             '-- until its last token has expired --'

The keys of one algorithm are a line: each follows the last one of its line, and no other. All decisions are here, and are pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """Which lines there are, and how their keys rotate. Durations are seconds."""

    algorithms: tuple[str, ...]
    """Of each line; the first one signs access tokens."""
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


@dataclass(frozen=True, slots=True)
class DueChanges:
    """What is to be done to the lines. Times are seconds since the epoch."""

    opens: Mapping[str, float] = field(default_factory=dict)
    """From when a new key signs, by algorithm."""
    closes: Mapping[str, float] = field(default_factory=dict)
    """When the last key of a line retires that is no longer wanted, by algorithm."""

    def __bool__(self) -> bool:
        return bool(self.opens or self.closes)


def open_keys(keys: Iterable[S]) -> dict[str, S]:
    """Return the open keys by algorithm: neither retired nor revoked, and with no end planned. One in each line at most."""
    return {key.algorithm: key for key in keys if key.schedule.retired_at is None and key.schedule.revoked_at is None}


def due_changes(keys: Sequence[Scheduled], policy: RotationPolicy, now: float) -> DueChanges:
    """Return what is due: a new key in lines, and the end of lines whose algorithm is no longer in the policy.

    An unwanted line retires as in a rotation: announced, and not before the line of access tokens has a key that signs. While
    its key is not active it stays, so that processes with different policies do not change it again and again.
    """
    found = open_keys(keys)
    times = {algorithm: next_active_from(keys, algorithm, policy, now) for algorithm in policy.algorithms}
    opens = {algorithm: time for algorithm, time in times.items() if time is not None}
    first = policy.algorithms[0]
    begins = opens[first] if first in opens else found[first].schedule.active_from
    closes = {
        algorithm: max(now + ANNOUNCE_SECONDS, begins)
        for algorithm, key in found.items()
        if algorithm not in policy.algorithms and key.schedule.state(now) is State.ACTIVE
    }
    return DueChanges(opens, closes)


def next_active_from(keys: Iterable[Scheduled], algorithm: str, policy: RotationPolicy, now: float) -> float | None:
    """Return from when a new key of a line signs if one is due now; else None. Seconds since the epoch.

    | the open key of the line                           | a new key signs from                          |
    |----------------------------------------------------|-----------------------------------------------|
    | there is none                                      | as `first_active_from` says                   |
    | is announced, not active yet                       | none is made                                  |
    | is active, its period ends within ANNOUNCE_SECONDS | the end of the period, or of the announcement |
    | is active                                          | none is made                                  |
    """
    keys = tuple(keys)
    last = open_keys(keys).get(algorithm)
    if last is None:
        return first_active_from(keys, now)
    if now < last.schedule.active_from:
        return None
    ends_at = last.schedule.active_from + policy.period
    return max(now + ANNOUNCE_SECONDS, ends_at) if now >= ends_at - ANNOUNCE_SECONDS else None


def first_active_from(keys: Iterable[Scheduled], now: float) -> float:
    """Return from when the first key of a line signs: at once if no client can have cached a set without it."""
    if any(key.schedule.state(now) in {State.NEXT, State.ACTIVE} for key in keys):
        return now + ANNOUNCE_SECONDS
    return now - BACKDATE_SECONDS
