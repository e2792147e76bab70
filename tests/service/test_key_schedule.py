"""The states of a key by its times, and when the next key is made."""

from dataclasses import dataclass

import pytest

from authmint_service.signing_keys import JWKS_STALE_SECONDS, MAX_AGE, RotationPolicy, Schedule, State
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS, BACKDATE_SECONDS, MAX_LEEWAY, next_active_from
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


@pytest.mark.parametrize(
    ("keys", "rotation", "active_from"),
    [
        ([], policy(), NOW - BACKDATE_SECONDS),
        ([Key("ES256", schedule(active_from=NOW - DAY))], policy(), None),
        ([Key("ES256", schedule(active_from=NOW - 30 * DAY + ANNOUNCE_SECONDS + 1))], policy(), None),
        ([Key("ES256", schedule(active_from=NOW - 30 * DAY + ANNOUNCE_SECONDS))], policy(), NOW + ANNOUNCE_SECONDS),
        ([Key("ES256", schedule(active_from=NOW - 90 * DAY))], policy(), NOW + ANNOUNCE_SECONDS),
        ([Key("ES256", schedule(active_from=NOW - DAY))], policy("RS256"), NOW + ANNOUNCE_SECONDS),
        ([Key("ES256", schedule(active_from=NOW + 1))], policy("RS256"), None),
        ([Key("ES256", schedule(active_from=NOW - DAY, revoked_at=NOW))], policy(), NOW - BACKDATE_SECONDS),
        ([Key("RS256", schedule(active_from=NOW + 5)), Key("ES256", schedule(retired_at=NOW + 5))], policy("RS256"), None),
    ],
    ids=["none", "young", "a second before the notice", "its notice", "long overdue", "another algorithm", "announced",
         "revoked", "a change under way"],
)  # fmt: skip
def test_the_next_key_is_made_when_it_is_time(keys: list[Key], rotation: RotationPolicy, active_from: float | None) -> None:
    assert active_from == next_active_from(keys, rotation, NOW)
