"""The checker of histories finds errors: a check that cannot fail would prove nothing."""

import pytest

from tests.faults.history import Operation, Outcome, Saw, Violation, check

GRACE = 10.0


def refresh(presented: int, started: float, ended: float, saw: Saw = Saw.CHILD) -> Operation:
    return Operation(presented, started, ended, saw)


def end(started: float, ended: float, saw: Saw = Saw.ENDED) -> Operation:
    return Operation(None, started, ended, saw)


GOOD = {
    "one after the other": ([refresh(0, 0, 1), refresh(1, 2, 3)], Outcome(2, is_revoked=False)),
    "many at once": ([refresh(0, 0, 1), refresh(0, 0, 2), refresh(0, 0.5, 3)], Outcome(1, is_revoked=False)),
    "a retry after a lost answer": ([refresh(0, 0, 1, Saw.UNKNOWN), refresh(0, 2, 3)], Outcome(1, is_revoked=False)),
    "lost before it arrived": ([refresh(0, 0, 1, Saw.UNKNOWN)], Outcome(0, is_revoked=False)),
    "lost after the work": ([refresh(0, 0, 1, Saw.UNKNOWN)], Outcome(1, is_revoked=False)),
    "a retry too late": ([refresh(0, 0, 1), refresh(0, 12, 13, Saw.REFUSED)], Outcome(1, is_revoked=True)),
    "reuse": ([refresh(0, 0, 1), refresh(1, 2, 3), refresh(0, 4, 5, Saw.REFUSED)], Outcome(2, is_revoked=True)),
    "a refresh beside a sign-out, before": ([end(0, 3), refresh(0, 1, 2)], Outcome(1, is_revoked=True)),
    "a refresh beside a sign-out, after": ([end(0, 3), refresh(0, 1, 2, Saw.REFUSED)], Outcome(0, is_revoked=True)),
    "a sign-out whose answer was lost": ([end(0, 1, Saw.UNKNOWN), refresh(0, 2, 3, Saw.REFUSED)], Outcome(0, is_revoked=True)),
}  # fmt: skip
BAD = {
    "a refresh after a sign-out": ([end(0, 1), refresh(0, 2, 3)], Outcome(1, is_revoked=True)),
    "a retry long after the grace period": ([refresh(0, 0, 1), refresh(0, 20, 21)], Outcome(1, is_revoked=False)),
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
