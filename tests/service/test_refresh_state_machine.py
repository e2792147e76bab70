"""Every cell of the table in `decide`'s docstring, written out by hand."""

import pytest

from authmint_service.sessions.rotation_rules import Repeats, RotationDecision, decide

GRACE = 30.0
CURRENT = 5
ROTATE, REPEAT, ELSEWHERE, LATE = (
    RotationDecision.ROTATE, RotationDecision.REPEAT, RotationDecision.REPEAT_ELSEWHERE, RotationDecision.REPEAT_LATE,
)  # fmt: skip
REUSED, FOLLOWED = RotationDecision.REVOKE_REUSED, RotationDecision.REVOKE_REPEATED
NEWER, REFUSE = RotationDecision.REFUSE_NEWER, RotationDecision.REFUSE

# The presented generation, and the decision 0, 30 and 30.001 seconds after the last rotation: from its place, from elsewhere.
LIVE_AND_OWN = {
    5: ((ROTATE, ROTATE, ROTATE), (ROTATE, ROTATE, ROTATE)),
    4: ((REPEAT, REPEAT, LATE), (ELSEWHERE, ELSEWHERE, REUSED)),
    3: ((REUSED, REUSED, REUSED), (REUSED, REUSED, REUSED)),
    0: ((REUSED, REUSED, REUSED), (REUSED, REUSED, REUSED)),
    6: ((NEWER, NEWER, NEWER), (NEWER, NEWER, NEWER)),
    9: ((NEWER, NEWER, NEWER), (NEWER, NEWER, NEWER)),
}


def decision(
    presented: int, seconds: float, *, is_live: bool = True, is_own: bool = True, is_same_place: bool = True,
    current: int = CURRENT, grace: float = GRACE, repeats: Repeats | None = None,
) -> RotationDecision:  # fmt: skip
    return decide(
        presented, current=current, is_live=is_live, is_own=is_own, is_same_place=is_same_place,
        seconds_since_rotation=seconds, grace=grace, repeats=repeats or Repeats(),
    )  # fmt: skip


@pytest.mark.parametrize("presented", LIVE_AND_OWN)
def test_a_token_of_a_live_session_gets_the_decision_of_the_table(presented: int) -> None:
    for is_same_place, expected in zip((True, False), LIVE_AND_OWN[presented], strict=True):
        decided = tuple(decision(presented, seconds, is_same_place=is_same_place) for seconds in (0.0, 30.0, 30.001))
        assert expected == decided


@pytest.mark.parametrize("presented", LIVE_AND_OWN)
@pytest.mark.parametrize(("is_live", "is_own"), [(True, False), (False, True), (False, False)])
def test_another_clients_token_and_one_of_a_dead_session_change_nothing(presented: int, is_live: bool, is_own: bool) -> None:
    for seconds in (0.0, 30.0, 30.001):
        for is_same_place in (True, False):
            assert REFUSE is decision(presented, seconds, is_live=is_live, is_own=is_own, is_same_place=is_same_place)


@pytest.mark.parametrize(("counted", "expected"), [(0, LATE), (15, LATE), (16, REUSED), (17, REUSED)])
def test_the_parent_is_repeated_late_sixteen_times(counted: int, expected: RotationDecision) -> None:
    assert expected is decision(4, 3600, repeats=Repeats(late=counted))
    # A repeat in time is none of them.
    assert REPEAT is decision(4, 30, repeats=Repeats(late=counted))


@pytest.mark.parametrize(
    ("generations", "is_counted", "expected"),
    [
        (0, False, ELSEWHERE), (1, False, ELSEWHERE), (1, True, ELSEWHERE), (2, True, ELSEWHERE), (2, False, FOLLOWED),
        (3, False, FOLLOWED),
    ],
)  # fmt: skip
def test_the_third_generation_that_is_repeated_from_elsewhere_revokes_the_session(
    generations: int, is_counted: bool, expected: RotationDecision
) -> None:
    repeats = Repeats(generations_elsewhere=generations, is_counted=is_counted)
    assert expected is decision(4, 1, is_same_place=False, repeats=repeats)
    # Its owner is where the rotation came from, and is served all the same.
    assert REPEAT is decision(4, 1, repeats=repeats)
    assert LATE is decision(4, 31, repeats=repeats)
    assert ROTATE is decision(5, 1, is_same_place=False, repeats=repeats)


def test_a_new_session_has_no_token_before_its_first() -> None:
    assert [ROTATE, NEWER] == [decision(presented, 0.0, current=0) for presented in (0, 1)]


def test_a_clock_that_was_set_back_does_not_revoke_a_session() -> None:
    assert REPEAT is decision(4, -60.0)


def test_without_a_grace_period_the_parent_is_late_a_microsecond_later() -> None:
    assert [REPEAT, LATE] == [decision(4, seconds, grace=0) for seconds in (0, 0.000001)]
    assert [ELSEWHERE, REUSED] == [decision(4, seconds, grace=0, is_same_place=False) for seconds in (0, 0.000001)]
