"""What commands print for people: one line for each row where the terminal is wide enough, and no text is cut off."""

import re
from typing import Any

import pytest

from authmint_service.commands.output import cut, echo_table

ROWS: list[dict[str, Any]] = [
    {"kid": "k" * 43, "state": "active", "active_from": "2026-01-01T00:00:00+00:00", "retired_at": None, "grants": ["a", "b"]},
    {"kid": "n" * 43, "state": "next", "active_from": "2026-04-01T00:00:00+00:00", "retired_at": None, "grants": []},
]


def lines_of_table(capsys: pytest.CaptureFixture[str]) -> list[str]:
    echo_table(tuple(ROWS[0]), ROWS, empty="Nothing.")
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()]


def test_a_program_that_reads_a_table_gets_one_line_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    header, first, second = lines_of_table(capsys)
    assert header.split() == ["kid", "state", "active", "from", "retired", "at", "grants"]
    assert first.split() == ["k" * 43, "active", "2026-01-01T00:00:00+00:00", "-", "a", "b"]
    assert second.startswith(f" {'n' * 43} ")


@pytest.mark.parametrize(("columns", "lines"), [("200", 3), ("80", 11)])
def test_on_a_terminal_that_is_too_narrow_each_row_is_a_paragraph(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, lines: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    printed = lines_of_table(capsys)
    assert lines == len(printed)
    if lines > 3:
        assert f" kid          {'k' * 43}" == printed[0]
        assert "" == printed[5]


def test_an_empty_table_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    echo_table(("kid",), [], empty="There are no keys.")
    assert "There are no keys.\n" == capsys.readouterr().out


@pytest.mark.parametrize(("count", "is_cut"), [(3, False), (4, True)])
def test_a_list_that_is_cut_says_so_where_no_program_reads_rows(
    count: int, capsys: pytest.CaptureFixture[str], *, is_cut: bool
) -> None:
    """Kind: a list that may grow. A program that reads JSON must not take a part for all, nor a sentence for a row."""
    assert [0, 1, 2] == list(cut(range(count), 3, how="See --limit."))
    printed = capsys.readouterr()
    assert "" == printed.out
    assert ("Only 3 are listed, and there are more. See --limit.\n" if is_cut else "") == printed.err
