"""The states of a key by its times, and when the next key is made."""

from dataclasses import dataclass, replace

import pytest

from authmint_service.signing_keys import JWKS_STALE_SECONDS, MAX_AGE, RotationPolicy, Schedule, State
from authmint_service.signing_keys.schedule import (
    ANNOUNCE_SECONDS,
    BACKDATE_SECONDS,
    MAX_LEEWAY,
    DueChanges,
    due_changes,
    next_active_from,
)
from tests.service.signing import DAY, policy

NOW = 1_800_000_000.0


@dataclass
class Key:
    algorithm: str
    schedule: Schedule


def schedule(**times: float) -> Schedule:
    return Schedule(**({"published_at": 0.0, "active_from": 0.0} | times))


@pytest.mark.parametrize(
    ("now", "state"),
    [(9, State.NEXT), (10, State.ACTIVE), (19, State.ACTIVE), (20, State.RETIRED), (29, State.RETIRED), (30, State.WITHDRAWN)],
)
def test_a_key_passes_from_state_to_state_by_time(now: float, state: State) -> None:
    times = schedule(active_from=10, retired_at=20, withdrawn_at=30)
    assert state is times.state(now)
    assert next((time for time in (10, 20, 30) if time > now), float("inf")) == times.changes_after(now)


@pytest.mark.parametrize("now", [0, 15, 25, 99])
def test_a_revoked_key_is_nothing_else(now: float) -> None:
    assert State.REVOKED is schedule(active_from=10, retired_at=20, withdrawn_at=30, revoked_at=12).state(now)


def test_a_retired_key_stays_published_for_its_last_tokens_life_the_leeway_and_what_caches_add() -> None:
    assert 300 + MAX_LEEWAY + MAX_AGE + JWKS_STALE_SECONDS == policy().retention_seconds


def test_a_key_is_announced_for_twice_the_age_that_others_may_keep_the_keys_at_least() -> None:
    assert ANNOUNCE_SECONDS >= 2 * MAX_AGE


YOUNG, OLD = schedule(active_from=NOW - DAY), schedule(active_from=NOW - 90 * DAY)
NEXT, LATER = schedule(active_from=NOW + 1), NOW + ANNOUNCE_SECONDS
AT_ONCE = NOW - BACKDATE_SECONDS


@pytest.mark.parametrize(
    ("keys", "active_from"),
    [
        ([], AT_ONCE),
        ([Key("ES256", YOUNG)], None),
        ([Key("ES256", schedule(active_from=NOW - 30 * DAY + ANNOUNCE_SECONDS + 1))], None),
        ([Key("ES256", schedule(active_from=NOW - 30 * DAY + ANNOUNCE_SECONDS))], LATER),
        ([Key("ES256", schedule(active_from=NOW - 30 * DAY + 99))], LATER),
        ([Key("ES256", OLD)], LATER),
        ([Key("ES256", schedule(active_from=NOW - DAY, revoked_at=NOW))], AT_ONCE),
        ([Key("RS256", YOUNG)], LATER),
        ([Key("RS256", NEXT)], LATER),
        ([Key("RS256", schedule(active_from=NOW - DAY, retired_at=NOW - 1, withdrawn_at=NOW + 99))], AT_ONCE),
        ([Key("ES256", NEXT), Key("ES256", schedule(retired_at=NOW + 1))], None),
        ([Key("ES256", schedule(active_from=NOW - DAY, retired_at=NOW + 99))], LATER),
    ],
    ids=["none", "young", "a second before the notice", "its notice", "late", "long overdue", "revoked", "another line",
         "another line that is announced", "another line that has ended", "announced", "closed by another process"],
)  # fmt: skip
def test_the_next_key_of_a_line_is_made_when_it_is_time(keys: list[Key], active_from: float | None) -> None:
    assert active_from == next_active_from(keys, "ES256", policy(), NOW)


@pytest.mark.parametrize(
    ("keys", "rotation", "opens", "closes"),
    [
        ([], policy("ES256", "RS256"), {"ES256": AT_ONCE, "RS256": AT_ONCE}, {}),
        ([Key("ES256", YOUNG)], policy("ES256", "RS256"), {"RS256": LATER}, {}),
        ([Key("ES256", YOUNG)], policy("RS256"), {"RS256": LATER}, {"ES256": LATER}),
        ([Key("ES256", YOUNG), Key("RS256", YOUNG)], policy("RS256"), {}, {"ES256": LATER}),
        ([Key("ES256", YOUNG), Key("RS256", YOUNG)], policy("RS256", "ES256"), {}, {}),
        ([Key("ES256", YOUNG), Key("RS256", schedule(active_from=LATER + 9))], policy("RS256"), {}, {"ES256": LATER + 9}),
        ([Key("ES256", NEXT), Key("RS256", YOUNG)], policy("RS256"), {}, {}),
        ([Key("ES256", OLD), Key("RS256", YOUNG)], policy("ES256", "RS256"), {"ES256": LATER}, {}),
        ([Key("RS256", NEXT), Key("ES256", schedule(active_from=NOW - DAY, retired_at=NOW + 1))], policy("RS256"), {}, {}),
    ],
    ids=["an empty store", "a line is added", "another algorithm", "a line is left out", "the two lines change places",
         "not before the other line signs", "an unwanted line is announced", "one of two is old", "a change under way"],
)  # fmt: skip
def test_lines_are_opened_and_closed_as_the_policy_says(
    keys: list[Key], rotation: RotationPolicy, opens: dict[str, float], closes: dict[str, float]
) -> None:
    assert DueChanges(opens, closes) == due_changes(keys, rotation, NOW)


def test_two_policies_at_once_never_leave_a_line_without_a_key_that_signs_and_make_few_keys() -> None:
    """A roll-out that takes hours: some processes have the old algorithm, some the new one. Both look every second."""
    keys: list[Key] = []
    for second in range(4 * 3600):
        now = NOW + second
        for rotation in (policy("ES256"), policy("RS256")):
            due = due_changes(keys, rotation, now)
            for algorithm, active_from in due.opens.items():
                close(keys, algorithm, active_from)
                keys.append(Key(algorithm, schedule(published_at=now, active_from=active_from)))
            for algorithm, retired_at in due.closes.items():
                close(keys, algorithm, retired_at)
        active = {key.algorithm for key in keys if key.schedule.state(now) is State.ACTIVE}
        assert active, second
    assert len(keys) <= 2 * 4 * 3600 / ANNOUNCE_SECONDS + 2


def close(keys: list[Key], algorithm: str, retired_at: float) -> None:
    for key in keys:
        if key.algorithm == algorithm and key.schedule.retired_at is None:
            key.schedule = replace(key.schedule, retired_at=retired_at)
