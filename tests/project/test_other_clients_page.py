"""The page *With other clients and validators* has a row for each program that was run, and no other one."""

import re

import pytest

from tests.clients.page import HERE, programs, read_rows
from tests.e2e.conftest import ROOT


def test_each_row_has_a_program_and_each_program_has_a_row() -> None:
    assert sorted(read_rows()) == sorted([*programs("with"), *programs("not_with")])


@pytest.mark.parametrize("program", programs("with"))
def test_what_a_row_has_as_a_setting_stands_in_its_program(program: str) -> None:
    source = (HERE / program).read_text()
    assert [] == [setting for setting in read_rows()[program].settings if setting not in source]


def test_each_python_package_that_programs_need_is_pinned_with_hashes() -> None:
    needed = re.findall(r"^([\w-]+)", (HERE / "requirements.in").read_text(), re.MULTILINE)
    pinned = (HERE / "requirements.txt").read_text()
    entries = {re.split(r"==", entry)[0]: entry for entry in re.split(r"\n(?=[a-z0-9])", pinned)}
    assert needed
    assert {name.lower().replace("_", "-") for name in needed} <= entries.keys()
    assert [] == [name for name, entry in entries.items() if not name.startswith("#") and "--hash=sha256:" not in entry]


def test_none_of_these_packages_is_installed_with_ours() -> None:
    """Those that the tests of the service and the library use themselves are in constraints.txt."""
    ours = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {"django", "flask", "fastmcp", "requests-oauthlib", "httpx-auth"}.isdisjoint(ours)
