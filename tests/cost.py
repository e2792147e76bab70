"""What a run of the tests costs: seconds of CPU for each test and each folder, compared with tests/budgets.toml.

CPU and not wall time, because other programs on the computer change the wall time. What a test's processes took is known when
they have ended, so a server that several tests share is counted to the test after which it stopped. The seconds of the last run
are in .pytest_cache/v/authmint/cost.
"""

import os
import re
import resource
import time
import tomllib
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BUDGETS = Path(__file__).with_name("budgets.toml")


@dataclass
class TestCost:
    """What one test took."""

    __test__ = False

    is_marked: bool = False
    """`slow`, `long` or `clients`: each test with a browser or with programs of others starts several processes."""
    is_long: bool = False
    own: float = 0.0
    """CPU seconds of the test alone, without its fixtures."""
    whole: float = 0.0
    """CPU seconds of the test and of the fixtures that were made for it or closed after it."""


@dataclass(frozen=True)
class Budgets:
    """CPU seconds as they were measured, and by how much a run may exceed them before it fails."""

    factor: float
    slow_seconds: float
    total_seconds: float
    outside: Mapping[str, float] = field(default_factory=dict)
    """What `make test` takes beside pytest."""
    folders: Mapping[str, float] = field(default_factory=dict)


def read_budgets() -> Budgets:
    return Budgets(**tomllib.loads(BUDGETS.read_text()))


def find_excess(costs: Mapping[str, TestCost], budgets: Budgets) -> Iterator[str]:
    """Yield a sentence for each unmarked test and each folder that cost more than is allowed."""
    limit = budgets.factor * budgets.slow_seconds
    for test, cost in sorted(costs.items()):
        if cost.own > limit and not cost.is_marked:
            yield f"{test} took {cost.own:.1f} s of CPU. Make it cheaper, or mark it `slow`."
    for folder, taken in sum_folders(costs).items():
        allowed = budgets.factor * budgets.folders.get(folder, 0.0)
        if taken > allowed:
            yield f"tests/{folder} took {taken:.0f} s of CPU, and may take {allowed:.0f} (tests/budgets.toml)."


def sum_folders(costs: Mapping[str, TestCost]) -> dict[str, float]:
    """Return the CPU seconds of each folder of tests/. Tests that are marked `long` have no budget."""
    folders: dict[str, float] = defaultdict(float)
    for test, cost in costs.items():
        if not cost.is_long:
            folders[test.split("/")[1]] += cost.whole
    return folders


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Meter:
    """A pytest plugin. Workers measure; the process that gets all reports adds up, records and compares."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_worker = "PYTEST_XDIST_WORKER" in os.environ
        self._last = cpu_seconds()
        self._costs: dict[str, TestCost] = defaultdict(TestCost)
        self._excess: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        now = cpu_seconds()
        taken, self._last = now - self._last, now
        report = yield
        marks = [name for name in ("slow", "long", "clients") if item.get_closest_marker(name)]
        # Reports go from a worker to its parent with these.
        report.user_properties.append(("cost", (taken, marks)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if "cost" in properties:
            taken, marks = properties["cost"]
            self._add(report, taken, marks)

    def _add(self, report: pytest.TestReport, taken: float, marks: Iterable[str]) -> None:
        # pytest-xdist adds the group to the id.
        cost = self._costs[re.sub(r"@[\w-]+$", "", report.nodeid)]
        cost.is_marked, cost.is_long = bool(marks), "long" in marks
        cost.whole += taken
        if report.when == "call":
            cost.own += taken

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            return
        self._record()
        self._excess = list(find_excess(self._costs, read_budgets()))
        if self._excess and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _record(self) -> None:
        if self._costs and hasattr(self._config, "cache") and self._config.cache is not None:
            tests = {test: round(cost.whole, 2) for test, cost in self._costs.items()}
            dearest = dict(sorted(tests.items(), key=lambda pair: -pair[1]))
            self._config.cache.set("authmint/cost", {"folders": sum_folders(self._costs), "tests": dearest})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        folders = sum_folders(self._costs)
        if folders:
            parts = ", ".join(f"{folder} {taken:.0f}" for folder, taken in sorted(folders.items()))
            terminalreporter.write_line(f"CPU seconds: {parts}; in all {sum(folders.values()):.0f}")
        for sentence in self._excess:
            terminalreporter.write_line(f"TOO EXPENSIVE {sentence}", red=True)
