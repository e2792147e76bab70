"""Which secret key is used for new values: a pure function of the ids that the live processes have."""

import itertools

import pytest

from authmint_service.processes import choose_key, is_current_anywhere


@pytest.mark.parametrize(
    ("own", "others", "last", "expected"),
    [
        ((1,), [], None, 1),
        ((2, 1), [], None, 2),
        ((2, 1), [(1,)], None, 1),
        ((2, 1), [(1,), (2, 1)], 1, 1),
        ((2, 1), [(2, 1)], 1, 2),
        ((2, 1), [(1, 2)], 1, 2),
        ((2, 1), [(1,)], 2, 1),
        ((3, 2, 1), [(2, 1), (3, 2, 1)], 1, 2),
        ((2,), [(1,)], None, 2),
        ((2, 1), [(3,)], 1, 1),
        ((2, 1), [(3,)], 7, 2),
    ],
    ids=[
        "alone", "alone with two", "another lacks the new one", "one of two others lacks it", "all have it",
        "the order of the others does not matter", "a rollback", "the best that all have", "nothing in common",
        "a process with another key changes nothing", "the last one is no longer there",
    ],
)  # fmt: skip
def test_the_first_key_that_all_have_is_used(
    own: tuple[int, ...], others: list[tuple[int, ...]], last: int | None, expected: int
) -> None:
    assert expected == choose_key(own, others, last)


def test_a_chosen_key_is_one_that_all_have_whenever_there_is_one() -> None:
    lists = [ids for count in (1, 2, 3) for ids in itertools.permutations((1, 2, 3), count)]
    for own, first, second in itertools.product(lists, repeat=3):
        chosen = choose_key(own, [first, second])
        common = {*own} & {*first} & {*second}
        assert chosen in own
        assert chosen in common or not common


def test_a_key_is_current_as_long_as_one_process_uses_it() -> None:
    assert is_current_anywhere(1, [(2, 1), (1,)])
    assert not is_current_anywhere(2, [(2, 1), (1,)])
    assert is_current_anywhere(2, [(2, 1), (2,)])
    assert not is_current_anywhere(1, [(2, 1), (2,)])
    assert not is_current_anywhere(1, [])
