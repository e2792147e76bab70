"""The checker of histories finds errors: a check that cannot fail would prove nothing."""

import random

import pytest

from authmint_service.sessions.rotation_rules import Repeats, RotationDecision, decide
from tests.faults.history import REFUSING, Operation, Outcome, Saw, Violation, check

GRACE = 10.0


def refresh(presented: int, started: float, ended: float, saw: Saw = Saw.CHILD, place: str = "home") -> Operation:
    return Operation(presented, started, ended, saw, place)


def elsewhere(presented: int, started: float, ended: float, saw: Saw = Saw.CHILD) -> Operation:
    return refresh(presented, started, ended, saw, "elsewhere")


def late(times: int) -> list[Operation]:
    """A rotation, and late repeats of it from the same place."""
    return [refresh(0, 0, 1), *(refresh(0, 12 + 2 * number, 13 + 2 * number) for number in range(times))]


def followed(generations: int) -> list[Operation]:
    """Rotations, each followed by a repeat from elsewhere."""
    return [
        operation
        for number in range(generations)
        for operation in (refresh(number, 4 * number, 4 * number + 1), elsewhere(number, 4 * number + 2, 4 * number + 3))
    ]


def end(started: float, ended: float, saw: Saw = Saw.ENDED) -> Operation:
    return Operation(None, started, ended, saw)


GOOD = {
    "one after the other": ([refresh(0, 0, 1), refresh(1, 2, 3)], Outcome(2, is_revoked=False)),
    "many at once": ([refresh(0, 0, 1), refresh(0, 0, 2), refresh(0, 0.5, 3)], Outcome(1, is_revoked=False)),
    "a retry after a lost answer": ([refresh(0, 0, 1, Saw.UNKNOWN), refresh(0, 2, 3)], Outcome(1, is_revoked=False)),
    "lost before it arrived": ([refresh(0, 0, 1, Saw.UNKNOWN)], Outcome(0, is_revoked=False)),
    "lost after the work": ([refresh(0, 0, 1, Saw.UNKNOWN)], Outcome(1, is_revoked=False)),
    "a retry too late from elsewhere": (
        [refresh(0, 0, 1), elsewhere(0, 12, 13, Saw.REFUSED)], Outcome(1, is_revoked=True),
    ),
    "late retries": (late(16), Outcome(1, is_revoked=False, late_repeats=16)),
    "one late retry too many": (
        [*late(16), refresh(0, 100, 101, Saw.REFUSED)], Outcome(1, is_revoked=True, late_repeats=16),
    ),
    "late retries of another generation": (
        [*late(16), refresh(1, 100, 101), refresh(1, 120, 121)], Outcome(2, is_revoked=False, late_repeats=1),
    ),
    "a late retry whose answer was lost": (
        [*late(1), refresh(0, 20, 21, Saw.UNKNOWN)], Outcome(1, is_revoked=False, late_repeats=2),
    ),
    "repeats from elsewhere": (
        [*followed(2), elsewhere(1, 8, 9), elsewhere(1, 8, 9)], Outcome(2, is_revoked=False, generations_elsewhere=2),
    ),
    "a third generation repeated from elsewhere": (
        [*followed(2), refresh(2, 20, 21), elsewhere(2, 22, 23, Saw.REFUSED)],
        Outcome(3, is_revoked=True, generations_elsewhere=2),
    ),
    "a thief who is first": (
        [elsewhere(0, 0, 1), refresh(0, 2, 3)], Outcome(1, is_revoked=False, generations_elsewhere=1),
    ),
    "reuse": ([refresh(0, 0, 1), refresh(1, 2, 3), refresh(0, 4, 5, Saw.REFUSED)], Outcome(2, is_revoked=True)),
    "a refresh beside a sign-out, before": ([end(0, 3), refresh(0, 1, 2)], Outcome(1, is_revoked=True)),
    "a refresh beside a sign-out, after": ([end(0, 3), refresh(0, 1, 2, Saw.REFUSED)], Outcome(0, is_revoked=True)),
    "a sign-out whose answer was lost": ([end(0, 1, Saw.UNKNOWN), refresh(0, 2, 3, Saw.REFUSED)], Outcome(0, is_revoked=True)),
}  # fmt: skip
BAD = {
    "a refresh after a sign-out": ([end(0, 1), refresh(0, 2, 3)], Outcome(1, is_revoked=True)),
    "a retry long after the grace period from elsewhere": (
        [refresh(0, 0, 1), elsewhere(0, 20, 21)], Outcome(1, is_revoked=False),
    ),
    "a late retry that was not counted": (late(1), Outcome(1, is_revoked=False)),
    "a late retry that was counted twice": (late(1), Outcome(1, is_revoked=False, late_repeats=2)),
    "a late retry that is refused": (
        [refresh(0, 0, 1), refresh(0, 12, 13, Saw.REFUSED)], Outcome(1, is_revoked=True),
    ),
    "a late retry too many": (late(17), Outcome(1, is_revoked=False, late_repeats=17)),
    "a repeat from elsewhere that was not counted": (followed(1), Outcome(1, is_revoked=False)),
    "a repeat from elsewhere that was counted twice": (
        [*followed(1), elsewhere(0, 4, 5)], Outcome(1, is_revoked=False, generations_elsewhere=2),
    ),
    "a third generation from elsewhere": (followed(3), Outcome(3, is_revoked=False, generations_elsewhere=3)),
    "a grandparent that is taken": ([refresh(0, 0, 1), refresh(1, 2, 3), refresh(0, 4, 5)], Outcome(2, is_revoked=False)),
    "reuse that ends nothing": (
        [refresh(0, 0, 1), refresh(1, 2, 3), refresh(0, 4, 5, Saw.REFUSED), refresh(2, 6, 7)],
        Outcome(3, is_revoked=False),
    ),
    "a rotation that was acknowledged and is lost": ([refresh(0, 0, 1)], Outcome(0, is_revoked=False)),
    "a rotation without a request": ([refresh(0, 0, 1)], Outcome(2, is_revoked=False)),
    "two rotations for one token": ([refresh(0, 0, 1), refresh(0, 0, 1)], Outcome(2, is_revoked=False)),
    "a retry within the grace period that is refused": (
        [refresh(0, 0, 1), refresh(0, 2, 3, Saw.REFUSED)], Outcome(1, is_revoked=True),
    ),
    "a good token that is refused": ([refresh(0, 0, 1, Saw.REFUSED)], Outcome(0, is_revoked=False)),
    "a sign-out that did not happen": ([end(0, 1)], Outcome(0, is_revoked=False)),
    "a lost answer that is redeemed much too late": (
        [refresh(0, 0, 1, Saw.UNKNOWN), refresh(0, 100, 101, Saw.REFUSED)], Outcome(0, is_revoked=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_possible_history_is_accepted(name: str) -> None:
    operations, outcome = GOOD[name]
    check(operations, outcome, GRACE)


@pytest.mark.parametrize("name", BAD)
def test_an_impossible_history_is_found(name: str) -> None:
    operations, outcome = BAD[name]
    with pytest.raises(Violation):
        check(operations, outcome, GRACE)


def simulated(chance: random.Random, grace: float, lost: float) -> tuple[list[Operation], Outcome]:
    """Return what the clients of one session see, and its row. `lost`: the share of the responses that are lost."""
    operations: list[Operation] = []
    current, known, is_live, rotated_at, place, repeats = 0, 0, True, -100.0, "home", Repeats()
    for number in range(120):
        at, presented = number * 0.2, known if chance.random() < 0.9 else max(0, known - 1)
        from_where, is_lost = "home" if chance.random() < 0.97 else "elsewhere", chance.random() < lost
        saw = Saw.UNKNOWN
        if not is_lost or chance.random() < 0.6:
            decision = decide(
                presented, current=current, is_live=is_live, is_own=True, is_same_place=not current or place == from_where,
                seconds_since_rotation=at - rotated_at, grace=grace, repeats=repeats,
            )  # fmt: skip
            if not is_lost:
                saw = Saw.REFUSED if decision in REFUSING else Saw.CHILD
            match decision:
                case RotationDecision.ROTATE:
                    current, rotated_at, place, repeats = current + 1, at, from_where, Repeats(0, repeats.generations_elsewhere)
                case RotationDecision.REVOKE_REUSED | RotationDecision.REVOKE_REPEATED:
                    is_live = False
                case RotationDecision.REPEAT_LATE:
                    repeats = Repeats(repeats.late + 1, repeats.generations_elsewhere, repeats.is_counted)
                case RotationDecision.REPEAT_ELSEWHERE if not repeats.is_counted:
                    repeats = Repeats(repeats.late, repeats.generations_elsewhere + 1, is_counted=True)
        operations.append(Operation(presented, at - 0.05, at + 0.05, saw, from_where))
        if saw is Saw.REFUSED:
            break
        known = max(known, presented + 1) if saw is Saw.CHILD else known
    return operations, Outcome(current, not is_live, repeats.late, repeats.generations_elsewhere)


@pytest.mark.parametrize("lost", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("grace", [0.0, 1.0, 30.0])
def test_a_session_most_of_whose_responses_were_lost_is_decided(grace: float, lost: float) -> None:
    """Of a hundred lost responses there are too many subsets: a search through them came to no end."""
    for seed in range(6):
        check(*simulated(random.Random(seed), grace, lost), grace)
