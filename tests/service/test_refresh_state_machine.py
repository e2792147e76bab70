"""Every cell of the table in `decide`'s docstring, written out by hand."""

import pytest

from authmint_service.sessions.rotation_rules import RotationDecision, decide

GRACE = 30.0
CURRENT = 5

# The presented generation, and the decision 0, 30 and 30.001 seconds after the last rotation.
LIVE_AND_OWN = {
    5: (RotationDecision.ROTATE, RotationDecision.ROTATE, RotationDecision.ROTATE),
    4: (RotationDecision.REPEAT, RotationDecision.REPEAT, RotationDecision.REVOKE),
    3: (RotationDecision.REVOKE, RotationDecision.REVOKE, RotationDecision.REVOKE),
    0: (RotationDecision.REVOKE, RotationDecision.REVOKE, RotationDecision.REVOKE),
    6: (RotationDecision.REFUSE, RotationDecision.REFUSE, RotationDecision.REFUSE),
    9: (RotationDecision.REFUSE, RotationDecision.REFUSE, RotationDecision.REFUSE),
}


def decision(
    presented: int, seconds: float, *, is_live: bool = True, is_own: bool = True, current: int = CURRENT
) -> RotationDecision:
    return decide(presented, current=current, is_live=is_live, is_own=is_own, seconds_since_rotation=seconds, grace=GRACE)


@pytest.mark.parametrize("presented", LIVE_AND_OWN)
def test_a_token_of_a_live_session_gets_the_decision_of_the_table(presented: int) -> None:
    assert LIVE_AND_OWN[presented] == tuple(decision(presented, seconds) for seconds in (0.0, 30.0, 30.001))


@pytest.mark.parametrize("presented", LIVE_AND_OWN)
@pytest.mark.parametrize(("is_live", "is_own"), [(True, False), (False, True), (False, False)])
def test_another_clients_token_and_one_of_a_dead_session_change_nothing(presented: int, is_live: bool, is_own: bool) -> None:
    for seconds in (0.0, 30.0, 30.001):
        assert RotationDecision.REFUSE is decision(presented, seconds, is_live=is_live, is_own=is_own)


def test_a_new_session_has_no_token_before_its_first() -> None:
    assert [RotationDecision.ROTATE, RotationDecision.REFUSE] == [decision(presented, 0.0, current=0) for presented in (0, 1)]


def test_a_clock_that_was_set_back_does_not_revoke_a_session() -> None:
    assert RotationDecision.REPEAT is decision(4, -60.0)


def test_without_a_grace_period_the_parent_revokes_the_session_a_microsecond_later() -> None:
    assert [RotationDecision.REPEAT, RotationDecision.REVOKE] == [
        decide(4, current=5, is_live=True, is_own=True, seconds_since_rotation=seconds, grace=0) for seconds in (0, 0.000001)
    ]
