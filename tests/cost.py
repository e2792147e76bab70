"""What a run of the tests costs: seconds of CPU for each test and each folder, against tests/budgets.toml.

CPU and not wall time, because other programs on the computer change only the latter. What a test's processes took is known
when they have ended, so a server that several tests share is counted to the test after which it stopped.
"""

import resource
import time
import tomllib
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

BUDGETS = Path(__file__).with_name("budgets.toml")
SLOW_SECONDS = 3.0


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Meter:
    """A pytest plugin. In each worker it measures; where the reports come together it adds up, records and compares."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._last = cpu_seconds()
        self._tests: dict[str, float] = defaultdict(float)
        self._complaints: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        now = cpu_seconds()
        taken, self._last = now - self._last, now
        report: pytest.TestReport = yield
        marked = any(item.get_closest_marker(name) for name in ("slow", "long"))
        report.user_properties.append(("cpu_seconds", taken))
        report.user_properties.append(("marked_slow", marked))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        self._tests[report.nodeid] += float(properties.get("cpu_seconds", 0))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        import json, os
        if not hasattr(self._config, "workerinput"):
            Path(os.environ.get("COST_OUT", "/tmp/cost.json")).write_text(json.dumps(self._tests))
