"""Checks what clients saw against the pure state machine: is there any order of the operations that it could have done?

Each operation has taken place, as a whole, at one moment between its start and its end; one whose answer was lost at some
moment later, or never. For each session a search looks for such an order (Wing and Gong, 1993); `decide` alone is the judge.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from authmint_service.sessions.rotation_rules import RotationDecision, decide

LATE_SECONDS = 30.0
"""What has not happened this long after an operation began does not happen any more: every deadline is shorter."""
CLOCK = 0.002
"""Seconds by which the clocks of processes on one machine, and the rounding of the database, may differ."""
MOST_STATES = 200_000


class Saw(Enum):
    """What an operation's caller was told."""

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

    @property
    def deadline(self) -> float:
        return self.started + LATE_SECONDS if self.saw is Saw.UNKNOWN else self.ended


@dataclass(frozen=True, slots=True)
class Outcome:
    """The session's row when everything was over."""

    generation: int
    is_revoked: bool


class Violation(AssertionError):
    """No order explains what was seen."""


@dataclass(frozen=True, slots=True)
class _State:
    generation: int = 0
    rotation: tuple[float, float] = (-math.inf, -math.inf)
    """Between these moments the last rotation was made."""
    is_live: bool = True


def check(operations: Sequence[Operation], outcome: Outcome, grace: float) -> None:
    """Raises Violation."""
    waiting = sorted(operations, key=lambda operation: operation.started)
    known = sum(1 << number for number, operation in enumerate(waiting) if operation.saw is not Saw.UNKNOWN)
    start = (0, _State())
    seen, stack = {start}, [start]
    while stack:
        done, state = stack.pop()
        if done & known == known and (state.generation, not state.is_live) == (outcome.generation, outcome.is_revoked):
            return
        for following in _next(waiting, done, state, grace):
            if following not in seen:
                seen.add(following)
                stack.append(following)
        if len(seen) > MOST_STATES:
            raise Violation(f"no order found among {MOST_STATES} states: {waiting}, {outcome}")
    raise Violation(f"no order explains {waiting}, {outcome}")


def _next(waiting: Sequence[Operation], done: int, state: _State, grace: float) -> list[tuple[int, _State]]:
    """What may happen next, the likeliest last: the search takes it first."""
    found: list[tuple[int, _State]] = []
    earliest_end = math.inf
    for number, operation in enumerate(waiting):
        if done >> number & 1:
            continue
        # Whatever has ended before another one began has happened before it.
        if operation.started > earliest_end:
            break
        if operation.saw is not Saw.UNKNOWN:
            earliest_end = min(earliest_end, operation.ended)
        # What nobody saw need not have happened, so it is tried only where it would have changed something.
        states = [after for after in _apply(operation, state, grace) if operation.saw is not Saw.UNKNOWN or after != state]
        found += [(done | 1 << number, after) for after in states]
    found.sort(key=lambda choice: waiting[(choice[0] ^ done).bit_length() - 1].deadline, reverse=True)
    return found


def _apply(operation: Operation, state: _State, grace: float) -> list[_State]:
    """The states it may lead to; none if it cannot have seen there what it saw."""
    if operation.presented is None:
        return [_State(state.generation, state.rotation, is_live=False)]
    possible = []
    for verdict in _verdicts(operation, operation.presented, state, grace):
        saw = Saw.CHILD if verdict in {RotationDecision.ROTATE, RotationDecision.REPEAT} else Saw.REFUSED
        if operation.saw in {saw, Saw.UNKNOWN}:
            possible.append(_after(verdict, operation, state))
    return possible


def _verdicts(operation: Operation, presented: int, state: _State, grace: float) -> set[RotationDecision]:
    earliest, latest = state.rotation
    shortest = operation.started - min(latest, operation.deadline) - CLOCK
    longest = operation.deadline - earliest + CLOCK
    return {
        decide(
            presented, current=state.generation, is_live=state.is_live, is_own=True, seconds_since_rotation=seconds,
            grace=grace,
        )
        for seconds in (shortest, longest)
    }  # fmt: skip


def _after(verdict: RotationDecision, operation: Operation, state: _State) -> _State:
    if verdict is RotationDecision.ROTATE:
        return _State(state.generation + 1, (operation.started, operation.deadline), is_live=True)
    if verdict is RotationDecision.REVOKE:
        return _State(state.generation, state.rotation, is_live=False)
    return state
