"""Which cached records may be used: pure decisions, and a model of loads, changes and readings in every order."""

import itertools
import random

import pytest

from authmint_service.change_feed import Change, ChangeKind, KnownChanges, Reading

CLIENT, ORIGINS, KEY = ChangeKind.CLIENT, ChangeKind.ORIGINS, ChangeKind.SIGNING_KEY


def reading(n: int, *changes: tuple[int, str], has_expected: bool = True, kind: ChangeKind = CLIENT) -> Reading:
    found = [Change(number, kind.value, name, takes=False) for number, name in changes]
    return Reading(n=n, has_expected=has_expected, changes=found)


def started(n: int = 100) -> KnownChanges:
    """What a process knows after its first reading."""
    known = KnownChanges()
    known.apply(reading(n, has_expected=False), 0)
    return known


@pytest.mark.parametrize(
    ("loaded", "changed", "usable"),
    [(100, 101, False), (100, 150, False), (101, 101, True), (150, 101, True), (100, None, True), (99, None, False)],
)
def test_a_record_is_used_while_no_change_of_it_has_a_greater_n(loaded: int, changed: int | None, *, usable: bool) -> None:
    known = started()
    if changed is not None:
        known.apply(reading(changed, (changed, "a")), 100)
    assert usable == known.is_current(CLIENT, "a", loaded)


def test_a_change_of_another_name_or_kind_concerns_no_record() -> None:
    known = started()
    known.apply(reading(102, (101, "b"), (102, "c")), 100)
    assert known.is_current(CLIENT, "a", 100)
    assert known.is_current(ORIGINS, "b", 100)
    assert known.is_kind_current(KEY, 100)
    assert not known.is_kind_current(CLIENT, 101)
    assert known.is_kind_current(CLIENT, 102)


def test_a_change_of_everything_concerns_each_record_of_each_kind() -> None:
    known = started()
    known.apply(reading(101, (101, ""), kind=ChangeKind.ALL), 100)
    assert not any(known.is_current(kind, "a", 100) or known.is_kind_current(kind, 100) for kind in ChangeKind)
    assert all(known.is_current(kind, "a", 101) and known.is_kind_current(kind, 101) for kind in ChangeKind)


def test_nothing_is_used_that_was_loaded_before_the_first_reading() -> None:
    known = KnownChanges()
    known.observe(90)
    known.apply(reading(100), 90)
    assert not known.is_current(CLIENT, "a", 90)
    assert known.is_current(CLIENT, "a", 100)


def test_a_record_that_is_newer_than_the_last_reading_is_used_and_the_reading_changes_nothing() -> None:
    known = started()
    known.observe(120)
    assert known.is_current(CLIENT, "a", 120)
    known.apply(reading(120, (110, "a"), (120, "a")), 120)
    assert known.is_current(CLIENT, "a", 120)
    assert not known.is_current(CLIENT, "a", 110)


def test_the_first_change_of_all_is_seen_whatever_was_loaded_from_an_empty_table() -> None:
    known = KnownChanges()
    known.apply(reading(0, has_expected=False), 0)
    assert known.is_current(CLIENT, "a", 0)
    known.apply(reading(50, has_expected=False), 0)
    assert not known.is_current(CLIENT, "a", 0)
    assert known.is_current(CLIENT, "a", 50)


def test_a_process_that_slept_until_rows_were_deleted_loads_everything_again() -> None:
    known = started()
    known.apply(reading(900, (900, "b"), has_expected=False), 100)
    assert not known.is_current(CLIENT, "a", 100)
    assert not known.is_kind_current(KEY, 899)
    assert known.is_current(CLIENT, "a", 900)


def test_a_database_that_knows_less_stops_everything_until_it_knows_more() -> None:
    known = started()
    known.apply(reading(90), 100)
    assert (True, 100) == (known.is_behind, known.n)
    assert not known.is_current(CLIENT, "a", 100)
    assert not known.is_kind_current(KEY, 100)
    known.apply(reading(99, (95, "b")), 100)
    assert known.is_behind
    known.apply(reading(200, (200, "b")), 100)
    # Between 90 and 200 anything may have been lost.
    assert (False, 200) == (known.is_behind, known.n)
    assert not known.is_current(CLIENT, "a", 199)
    assert known.is_current(CLIENT, "a", 200)


def test_a_restore_is_noticed_although_only_a_loaded_record_had_seen_what_was_lost() -> None:
    known = started()
    known.observe(110)
    known.apply(reading(100), known.expected)
    assert known.is_behind
    known.apply(reading(300, (300, "b")), known.expected)
    assert not known.is_current(CLIENT, "a", 110)


def test_a_restore_that_was_followed_by_a_change_at_once_is_noticed_because_a_row_is_missing() -> None:
    known = started()
    known.observe(110)
    known.apply(reading(300, (300, "b"), has_expected=False), 110)
    assert not known.is_behind
    assert not known.is_current(CLIENT, "a", 110)
    assert not known.is_current(CLIENT, "a", 299)


def test_a_load_during_the_question_is_no_restore() -> None:
    known = started()
    expected = known.expected
    known.observe(120)
    known.apply(reading(110, (110, "a")), expected)
    assert not known.is_behind
    assert known.is_current(CLIENT, "a", 120)


def test_after_a_restart_nothing_is_known_of_what_was_seen_before() -> None:
    known = started(90)
    assert not known.is_behind
    assert known.is_current(CLIENT, "a", 90)


@pytest.mark.parametrize("count", range(1, 8))
def test_what_is_forgotten_makes_older_records_unusable_and_never_newer_ones(count: int) -> None:
    known = KnownChanges(max_names=3)
    known.apply(reading(100), 0)
    known.apply(reading(100 + count, *((100 + number, f"c{number}") for number in range(1, count + 1))), 100)
    for number in range(1, count + 1):
        assert not known.is_current(CLIENT, f"c{number}", 100 + number - 1)
    assert known.is_current(CLIENT, "other", 100 + count)
    assert (count <= 3) == known.is_current(CLIENT, "other", 100)


def test_of_many_changes_of_one_name_one_is_kept() -> None:
    known = KnownChanges(max_names=2)
    known.apply(reading(0), 0)
    known.apply(reading(1000, *((n, "ab"[n % 2]) for n in range(1, 1001)), has_expected=True), 0)
    assert known.is_current(CLIENT, "c", 0)
    assert not known.is_current(CLIENT, "a", 999)
    assert known.is_current(CLIENT, "a", 1000)


class Model:
    """A database with one value for each name, and one process that caches them. Steps are what could be under way."""

    def __init__(self) -> None:
        self.values, self.rows = dict.fromkeys("ab", 0), dict[int, str]()
        self.known = started(0)
        self.cached = dict.fromkeys("ab", (0, 0))
        self.load: tuple[str, int, int] | None = None
        self.question: tuple[Reading, int] | None = None
        self.committed = dict.fromkeys("ab", 0)
        """The value that the last reading must have told of."""

    @property
    def n(self) -> int:
        return max(self.rows, default=0)

    def change(self, name: str) -> None:
        self.values[name] += 1
        self.rows[self.n + 1] = name

    def begin_load(self, name: str) -> None:
        self.load = name, self.values[name], self.n

    def end_load(self) -> None:
        if self.load is not None:
            name, value, n = self.load
            self.cached[name] = value, n
            self.known.observe(n)
            self.load = None

    def begin_question(self) -> None:
        expected, since = self.known.expected, self.known.n or 0
        rows = [(n, name) for n, name in sorted(self.rows.items()) if n > since]
        self.question = reading(self.n, *rows, has_expected=expected in self.rows), expected
        self.seen_by_question = dict(self.values)

    def end_question(self) -> None:
        if self.question is not None:
            self.known.apply(*self.question)
            self.committed, self.question = self.seen_by_question, None

    def check(self) -> None:
        assert not self.known.is_behind
        for name, (value, n) in self.cached.items():
            if self.known.is_current(CLIENT, name, n):
                assert value >= self.committed[name], f"{name} is older than the last reading"


STEPS = ("change a", "change b", "begin_load a", "end_load", "begin_question", "end_question")


def run(steps: tuple[str, ...]) -> Model:
    model = Model()
    for step in steps:
        method, *names = step.split()
        getattr(model, method)(*names)
        model.check()
    return model


def test_in_every_order_of_six_steps_no_record_is_used_that_is_older_than_the_last_reading() -> None:
    for steps in itertools.product(STEPS, repeat=6):
        run(steps)


@pytest.mark.parametrize("seed", range(20))
def test_in_long_random_orders_neither_and_what_was_loaded_last_is_used(seed: int) -> None:
    steps = tuple(random.Random(seed).choices(STEPS, k=500))
    model = run((*steps, "end_load", "end_question", "begin_question", "end_question", "begin_load a", "end_load"))
    assert model.known.is_current(CLIENT, "a", model.cached["a"][1])
    assert model.values["a"] == model.cached["a"][0]
