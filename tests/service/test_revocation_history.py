"""What a process has read of revocations, and the deltas that followers get of it. Pure decisions."""

import random
from array import array
from collections.abc import Iterable

import pytest

from authmint.revocation_list import RevocationList, accept_list
from authmint.revoked_entries import Below, Packs, RevokedEntries
from authmint_service.revocations import RevocationHistory, RevocationReading
from authmint_service.revocations.history import OVERLAP_SECONDS, RECENT_SECONDS
from authmint_service.revocations.store import SLICE_SECONDS

NOW = 1_800_000_000
MINUTE = NOW // 60 + 10_000


def entries(numbers: Iterable[int]) -> RevokedEntries:
    found = sorted(numbers)
    return RevokedEntries(Packs({MINUTE: array("Q", found)})) if found else RevokedEntries()


def numbers_of(known: RevokedEntries) -> set[int]:
    return {number for pack in known.sessions.by_minute.values() for number in pack}


def reading(time: float, written: dict[int, float]) -> RevocationReading:
    """What a statement reads: entries by number, each with the time at which it was written."""
    slices: dict[int, set[int]] = {}
    for number, at in written.items():
        slices.setdefault(int(at // SLICE_SECONDS), set()).add(number)
    return RevocationReading(time, {slice_: entries(found) for slice_, found in slices.items()}, {}, RevokedEntries(), 0)


def test_a_reading_with_nothing_new_changes_nothing() -> None:
    first = RevocationHistory().merged(reading(NOW, {1: NOW - 5, 2: NOW - 40}), NOW)
    assert first is first.merged(reading(NOW + 1, {1: NOW - 5, 2: NOW - 40}), NOW + 1)
    assert first is first.merged(reading(NOW + 1, {}), NOW + 1)
    # What is needed no more, as of a session whose tokens had expired when it ended, is nothing new.
    ended = RevokedEntries(Packs({NOW // 60: array("Q", [3])}))
    assert first is first.merged(RevocationReading(NOW + 1, {NOW // 10: ended}, {}, RevokedEntries(), 0), NOW + 1)
    assert {1, 2, 4} == numbers_of(first.merged(reading(NOW + 1, {4: NOW + 1}), NOW + 1).whole)


def test_a_delta_begins_a_minute_before_and_a_follower_that_was_away_gets_all() -> None:
    history = RevocationHistory().merged(reading(NOW, {age: NOW - age for age in (5, 45, 65, 75, 175)}), NOW)
    first = history.first_slice(NOW * 1000, NOW)
    delta = history.make_list(first, NOW * 1000)
    assert (NOW * 1000, {5, 45}) == (delta.since, numbers_of(delta.entries) - {65})
    assert history.first_slice(None, NOW) is None
    away = (NOW - RECENT_SECONDS + OVERLAP_SECONDS) * 1000
    assert history.first_slice(away, NOW) is None
    assert {5, 45, 65, 75, 175} == numbers_of(history.make_list(None, NOW * 1000).entries)


def test_what_is_needed_no_more_leaves_the_memory() -> None:
    below = RevokedEntries(below=Below(all=NOW * 1000))
    history = RevocationHistory().merged(
        RevocationReading(NOW, {NOW // 10: entries([1])}, {NOW // 10: below}, RevokedEntries(), 0), NOW
    )
    assert (1, 1) == (len(history.whole.sessions), len(history.whole.below))
    later = history.without_ended(NOW + 4201)
    assert (1, 0, {}) == (len(later.whole.sessions), len(later.whole.below), later.recent)
    assert 0 == len(history.without_ended(MINUTE * 60).whole)


class Publisher:
    """A process that reads now and then."""

    def __init__(self) -> None:
        self.history = RevocationHistory()
        self.time = 0.0

    def read(self, time: float, committed: dict[int, float]) -> None:
        since = self.time - OVERLAP_SECONDS
        since = since // SLICE_SECONDS * SLICE_SECONDS
        self.history = self.history.merged(reading(time, {n: at for n, at in committed.items() if at >= since}), time)
        self.time = time

    def list_for(self, since: int | None) -> RevocationList:
        serial = int(self.time * 1000)
        return self.history.make_list(self.history.first_slice(since, self.time), serial)


@pytest.mark.parametrize("seed", range(20))
def test_a_follower_of_any_process_knows_all_that_was_committed_before_its_list_was_read(seed: int) -> None:
    """Transactions commit up to a minute after their time, processes stand still for minutes, and followers ask any of them."""
    chance = random.Random(seed)
    publishers = [Publisher() for _ in range(3)]
    written: dict[int, tuple[float, float]] = {}
    known: RevocationList | None = None
    time = float(NOW)
    for step in range(800):
        time += chance.choice((0.1, 0.5, 0.5, 3.0))
        written[step] = (time, time + chance.choice((0.0, 0.2, 59.0)))
        for publisher in publishers:
            if chance.random() < 0.5:
                publisher.read(time, {number: at for number, (at, visible) in written.items() if visible <= time})
        publisher = chance.choice(publishers)
        if chance.random() < 0.02:
            time += chance.choice((30, 100, 300))
        if publisher.time < time - 5 or chance.random() < 0.5:
            # It responds 503, or the follower is away.
            continue
        received = publisher.list_for(None if known is None else known.serial)
        if known is not None and received.serial < known.serial:
            continue
        known = accept_list(known, received, time)
        committed = {number for number, (_, visible) in written.items() if visible <= publisher.time}
        assert committed <= numbers_of(known.entries), step
