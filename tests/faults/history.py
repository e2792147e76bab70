"""Check what clients saw against the pure state machine: is there an order of the operations that explains it?

Each operation took effect as a whole at one time between its start and its end; one whose response was lost took effect at some
later time, or never. A search tries the orders of each session (Wing and Gong, 1993); `decide` alone defines what is right.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from authmint_service.sessions.rotation_rules import Repeats, RotationDecision, decide

LATE_SECONDS = 30.0
"""An operation takes effect within this time or never: every deadline is shorter."""
CLOCK = 0.002
"""Seconds by which the clocks of processes on one machine, and the rounding of the database, may differ."""
MAX_STATES = 200_000
REFUSING = {
    RotationDecision.REFUSE, RotationDecision.REFUSE_NEWER, RotationDecision.REVOKE_REUSED, RotationDecision.REVOKE_REPEATED,
}  # fmt: skip


class Saw(Enum):
    """The response that an operation's client saw."""

    CHILD = "a refresh token of the next generation"
    REFUSED = "invalid_grant"
    ENDED = "the session has ended"
    UNKNOWN = "nothing that can be relied on: the answer was lost, or 503"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request. `presented`: a generation, or None for one that ends the session. Times are seconds."""

    presented: int | None
    started: float
    ended: float
    saw: Saw
    place: str = ""
    """Where it came from."""

    @property
    def deadline(self) -> float:
        return self.started + LATE_SECONDS if self.saw is Saw.UNKNOWN else self.ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """The session's row at the end."""

    generation: int
    is_revoked: bool
    late_repeats: int = 0
    generations_elsewhere: int = 0


class Violation(AssertionError):
    """No order explains the responses."""


@dataclass(frozen=True, slots=True)
class _State:
    generation: int = 0
    rotation: tuple[float, float] = (-math.inf, -math.inf)
    """The earliest and the latest time of the last rotation."""
    is_live: bool = True
    place: str | None = None
    """Where the last rotation came from, None if there was none."""
    repeats: Repeats = field(default_factory=Repeats)

    def agrees_with(self, outcome: Outcome) -> bool:
        """Return whether a row may be as `outcome` says."""
        counted = self.repeats.late, self.repeats.generations_elsewhere
        return (self.generation, not self.is_live, *counted) == (
            outcome.generation, outcome.is_revoked, outcome.late_repeats, outcome.generations_elsewhere,
        )  # fmt: skip


def check(operations: Sequence[Operation], outcome: Outcome, grace: float) -> None:
    """Raises Violation."""
    waiting = sorted(operations, key=lambda operation: operation.started)
    # Of a hundred operations without a response there are too many subsets, so equal ones stand for one another first. An order
    # that is found so is an order. If there is none, each is tried for itself.
    if not _has_order(waiting, outcome, grace, _Lost(waiting).alike) and not _has_order(waiting, outcome, grace, _itself):
        raise Violation(f"no order explains {waiting}, {outcome}")


def _has_order(waiting: Sequence[Operation], outcome: Outcome, grace: float, alike: Callable[[int, _State], Hashable]) -> bool:
    """Return whether an order was found; of the points for which `alike` returns the same, the first one is followed."""
    known = sum(1 << number for number, operation in enumerate(waiting) if operation.saw is not Saw.UNKNOWN)
    start = (0, _State())
    seen, stack = {alike(*start)}, [start]
    while stack:
        done, state = stack.pop()
        if done & known == known and state.agrees_with(outcome):
            return True
        for following in _next(waiting, done, state, grace):
            shape = alike(*following)
            if shape not in seen:
                seen.add(shape)
                stack.append(following)
        if len(seen) > MAX_STATES:
            raise Violation(f"no order found among {MAX_STATES} states: {waiting}, {outcome}")
    return False


def _itself(done: int, state: _State) -> Hashable:
    return done, state


class _Lost:
    """The operations of one session whose responses were lost, by what they presented and from where."""

    def __init__(self, waiting: Sequence[Operation]) -> None:
        self._all = 0
        self._masks: dict[tuple[int, str], int] = {}
        for number, operation in enumerate(waiting):
            if operation.saw is Saw.UNKNOWN:
                # One that ends the session does what a token that was redeemed long ago does.
                key = -1 if operation.presented is None else operation.presented, operation.place
                self._masks[key] = self._masks.get(key, 0) | 1 << number
                self._all |= 1 << number

    def alike(self, done: int, state: _State) -> Hashable:
        """Return the same for points that differ only in which of several equal operations took effect."""
        if not done & self._all:
            return done, state
        counts, left = [], self._all & ~done
        for (presented, place), mask in self._masks.items():
            # Of older tokens each one can end the session, and nothing else.
            if presented >= state.generation - 1:
                counts.append((presented, place, (mask & done).bit_count()))
                left &= ~mask
        return done & ~self._all, tuple(counts), left > 0, state


def _next(waiting: Sequence[Operation], done: int, state: _State, grace: float) -> list[tuple[int, _State]]:
    """Return the possible next steps, the likeliest last: the search takes it first."""
    found: list[tuple[int, _State]] = []
    earliest_end = math.inf
    for number, operation in enumerate(waiting):
        if done >> number & 1:
            continue
        # An operation that ended before another one began took effect before it.
        if operation.started > earliest_end:
            break
        if operation.saw is not Saw.UNKNOWN:
            earliest_end = min(earliest_end, operation.ended)
        # An operation without a response need not have happened, so it is tried only where it changes the state.
        states = [after for after in _apply(operation, state, grace) if operation.saw is not Saw.UNKNOWN or after != state]
        found += [(done | 1 << number, after) for after in states]
    found.sort(key=lambda choice: waiting[(choice[0] ^ done).bit_length() - 1].deadline, reverse=True)
    return found


def _apply(operation: Operation, state: _State, grace: float) -> list[_State]:
    """Return the states it may lead to; none if its response is impossible in `state`."""
    if operation.presented is None:
        return [replace(state, is_live=False)]
    possible = []
    for decision in _decisions(operation, operation.presented, state, grace):
        saw = Saw.REFUSED if decision in REFUSING else Saw.CHILD
        if operation.saw in {saw, Saw.UNKNOWN}:
            possible.append(_after(decision, operation, state))
    return possible


def _decisions(operation: Operation, presented: int, state: _State, grace: float) -> set[RotationDecision]:
    earliest, latest = state.rotation
    shortest = operation.started - min(latest, operation.deadline) - CLOCK
    longest = operation.deadline - earliest + CLOCK
    return {
        decide(
            presented, current=state.generation, is_live=state.is_live, is_own=True,
            is_same_place=state.place in {None, operation.place}, seconds_since_rotation=seconds, grace=grace,
            repeats=state.repeats,
        )
        for seconds in (shortest, longest)
    }  # fmt: skip


def _after(decision: RotationDecision, operation: Operation, state: _State) -> _State:
    repeats = state.repeats
    match decision:
        case RotationDecision.ROTATE:
            rotation, counted = (operation.started, operation.deadline), Repeats(0, repeats.generations_elsewhere)
            return _State(state.generation + 1, rotation, is_live=True, place=operation.place, repeats=counted)
        case RotationDecision.REVOKE_REUSED | RotationDecision.REVOKE_REPEATED:
            return replace(state, is_live=False)
        case RotationDecision.REPEAT_LATE:
            return replace(state, repeats=replace(repeats, late=repeats.late + 1))
        case RotationDecision.REPEAT_ELSEWHERE if not repeats.is_counted:
            counted = Repeats(repeats.late, repeats.generations_elsewhere + 1, is_counted=True)
            return replace(state, repeats=counted)
    return state
