"""How the suite runs: what CI calls, what each folder of tests may cost, and how a run is compared with that."""

from pathlib import Path

import pytest
import yaml

from tests.cost import Budgets, TestCost, find_excess, read_budgets

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = Budgets(factor=2.0, slow_seconds=3.0, total_seconds=100.0, folders={"service": 10.0})


def excess_of(**tests: TestCost) -> list[str]:
    return list(find_excess({f"tests/service/test_x.py::{name}": cost for name, cost in tests.items()}, BUDGETS))


def test_every_folder_of_tests_has_a_budget_and_all_of_them_stay_within_the_whole() -> None:
    budgets = read_budgets()
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= budgets.folders.keys()
    # `make test-clients` runs these two.
    in_make_test = sum(seconds for folder, seconds in budgets.folders.items() if folder not in {"browser", "clients"})
    assert in_make_test + sum(budgets.outside.values()) <= budgets.total_seconds


def test_a_folder_may_take_its_budget_times_the_factor() -> None:
    marked = TestCost(is_marked=True, own=20.0, whole=20.0)
    assert [] == excess_of(a=marked)
    (sentence,) = excess_of(a=marked, b=TestCost(own=0.1, whole=0.1))
    assert "tests/service took 20 s of CPU, and may take 20" in sentence


def test_a_test_that_takes_long_is_marked() -> None:
    assert [] == excess_of(a=TestCost(own=6.0, whole=6.0))
    (sentence,) = excess_of(a=TestCost(own=6.1, whole=6.1))
    assert "tests/service/test_x.py::a took 6.1 s of CPU" in sentence
    assert [] == excess_of(a=TestCost(is_marked=True, own=6.1, whole=6.1))


def test_fixtures_count_for_the_folder_and_not_for_the_test() -> None:
    assert [] == excess_of(a=TestCost(own=0.1, whole=19.0))
    assert 1 == len(excess_of(a=TestCost(own=0.1, whole=21.0)))


def test_a_long_test_has_no_budget() -> None:
    assert [] == excess_of(a=TestCost(is_marked=True, is_long=True, own=1000.0, whole=1000.0))


def test_a_folder_without_a_budget_may_take_nothing() -> None:
    costs = {"tests/new/test_x.py::a": TestCost(own=1.0, whole=1.0)}
    (sentence,) = find_excess(costs, BUDGETS)
    assert "tests/new took 1 s of CPU, and may take 0" in sentence


@pytest.mark.parametrize("target", ["test", "test-clients", "docs"])
def test_ci_runs_what_a_developer_runs(target: str) -> None:
    assert f"\nmake {target}\n" in (ROOT / ".ci" / "run").read_text()


def test_the_long_tests_run_every_week() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yaml").read_text())
    # YAML 1.1 reads the key `on` as true.
    assert "schedule" in workflow[True]
    steps = workflow["jobs"]["test-long"]["steps"]
    assert "make test-long" in [step.get("run") for step in steps]
