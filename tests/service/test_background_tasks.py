"""The runner of background tasks: no error ends a task, and all tasks end with the process."""

import asyncio
import errno
import io
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.leases import Leases
from authmint_service.tasks import RETRY_SECONDS, Task, TaskRunner
from tests.service.conftest import Service
from tests.service.pauses import Pauses
from tests.service.test_logs import lines_of

pytestmark = pytest.mark.anyio

LOGGER = "authmint_service.tasks"
"""The application that all tests share has a log of its own."""


class Outcomes:
    """A task's work: each run has the next outcome, and the last one is for all later runs."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self._outcomes = list(outcomes)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if outcome is not None:
            raise outcome


def make_runner(*tasks: Task, prepare: Callable[[], Awaitable[object]] | None = None) -> tuple[TaskRunner, Pauses]:
    pauses = Pauses()
    return TaskRunner(tasks, Leases(Database(size=1)), prepare=prepare, sleep=pauses, spread=lambda: 0.5), pauses


@pytest.mark.parametrize(
    "error", [RuntimeError("the password is hunter2"), asyncio.CancelledError(), ExceptionGroup("a", [ValueError("hunter2")])]
)
async def test_no_error_ends_a_task_and_its_text_is_not_logged(
    error: BaseException, capfd: pytest.CaptureFixture[str], service: Service
) -> None:
    work = Outcomes(error, None)
    runner, pauses = make_runner(Task("work", 7.0, work, at_start=True))
    async with runner.running():
        assert 7.0 == await pauses.end_next()
        assert 7.0 == await pauses.end_next()
    assert 2 <= work.runs
    logged = capfd.readouterr().err
    lines = [line for line in lines_of(logged) if line["logger"] == LOGGER]
    assert [("error.unexpected", "work")] == [(line["event"], line["task"]) for line in lines]
    assert "hunter2" not in logged


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError(), ValueError("closed file")]
)
async def test_a_log_that_cannot_be_written_ends_no_task(
    error: Exception, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise error

    work = Outcomes(RuntimeError(), DatabaseUnavailable("later"), None)
    runner, pauses = make_runner(Task("work", 7.0, work, at_start=True))
    monkeypatch.setattr(sys, "stderr", Full())
    async with runner.running(), asyncio.timeout(5):
        assert [7.0, RETRY_SECONDS, 7.0] == [await pauses.end_next() for _ in range(3)]


async def test_a_task_is_retried_soon_while_the_database_is_unavailable_and_the_log_says_so_once(
    capfd: pytest.CaptureFixture[str], service: Service
) -> None:
    unavailable = DatabaseUnavailable("ConnectionRefusedError")
    first, second = Outcomes(unavailable, unavailable, unavailable, None), Outcomes(unavailable, None)
    runner, pauses = make_runner(Task("first", 30.0, first, at_start=True), Task("second", 30.0, second, at_start=True))
    async with runner.running():
        seen = Counter([await pauses.end_next() for _ in range(7)])
    assert {RETRY_SECONDS: 4, 30.0: 3} == seen
    events = [line["event"] for line in lines_of(capfd.readouterr().err) if line["logger"] == LOGGER]
    assert ["database.unavailable", "database.available"] == events


async def test_the_log_says_again_each_minute_why_the_database_is_unavailable(
    capfd: pytest.CaptureFixture[str], service: Service
) -> None:
    """Kind: a line that has scrolled away: who looks after an hour finds the reason in the last minute of the log."""
    times, pauses = iter((0.0, 30.0, 59.0, 60.0, 100.0, 121.0)), Pauses()
    task = Task("work", 30.0, Outcomes(DatabaseUnavailable('database "none" does not exist')), at_start=True)
    runner = TaskRunner([task], Leases(Database(size=1)), sleep=pauses, spread=lambda: 0.5, elapsed=lambda: next(times))
    async with runner.running():
        for _ in range(5):
            await pauses.end_next()
        await pauses.next()
    lines = [line["reason"] for line in lines_of(capfd.readouterr().err) if line["logger"] == LOGGER]
    assert ['database "none" does not exist'] * 3 == lines


async def test_a_task_of_each_hour_is_retried_each_minute(service: Service) -> None:
    runner, pauses = make_runner(Task("hourly", 3600.0, Outcomes(SchemaOutdated("later")), at_start=True))
    async with runner.running():
        assert 60.0 == await pauses.end_next()


async def test_tasks_that_need_not_run_at_start_begin_at_different_times() -> None:
    """Otherwise processes that start together ask the database for the same at the same time, each hour."""
    work = Outcomes(None)
    task = Task("work", 100.0, work)
    delays = []
    for spread in (0.0, 0.25, 1.0):
        pauses = Pauses()
        runner = TaskRunner([task], Leases(Database(size=1)), sleep=pauses, spread=partial(float, spread))
        async with runner.running():
            delays.append((await pauses.next())[0])
            assert runner.started.is_set()
    assert [50.0, 62.5, 100.0] == delays
    assert 0 == work.runs


async def test_a_start_waits_for_the_first_attempt_of_each_task_that_runs_at_start(service: Service) -> None:
    release = asyncio.Event()
    runner, _ = make_runner(
        Task("slow", 1.0, release.wait, at_start=True), Task("failing", 1.0, Outcomes(ValueError("no")), at_start=True)
    )
    async with runner.running():
        while "failing" in runner._waiting_for:
            await asyncio.sleep(0)
        assert not runner.started.is_set()
        release.set()
        async with asyncio.timeout(10):
            await runner.started.wait()


async def test_the_database_is_prepared_once_and_before_the_tasks_that_use_it(service: Service) -> None:
    prepare, work, other = Outcomes(DatabaseUnavailable("no"), None), Outcomes(None), Outcomes(None)
    independent = Outcomes(None)
    runner, pauses = make_runner(
        Task("work", 5.0, work, at_start=True),
        Task("other", 5.0, other, at_start=True),
        Task("independent", 9.0, independent, at_start=True, uses_database=False),
        prepare=prepare,
    )
    async with runner.running():
        first = [await pauses.next() for _ in range(3)]
        # `work` found the database unavailable; `other` then prepared it; the third needs no database.
        assert sorted([RETRY_SECONDS, 5.0, 9.0]) == sorted(seconds for seconds, _ in first)
        assert (0, 1, 1) == (work.runs, other.runs, independent.runs)
        for _, end in first:
            end.set()
        for _ in range(3):
            await pauses.next()
    assert 2 == prepare.runs
    assert (1, 2, 2) == (work.runs, other.runs, independent.runs)


async def test_all_tasks_have_ended_when_the_process_stops() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    runner, _ = make_runner(Task("work", 1.0, work, at_start=True), Task("later", 60.0, work))
    async with runner.running():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert ["work"] == ended
    assert {"work", "later"}.isdisjoint(task.get_name() for task in asyncio.all_tasks())


def test_two_tasks_cannot_have_one_name() -> None:
    """They would share one lease."""
    with pytest.raises(ValueError, match="two background tasks"):
        make_runner(Task("work", 1.0, Outcomes(None)), Task("work", 2.0, Outcomes(None)))


async def test_a_task_that_loses_its_cancellation_ends_all_the_same() -> None:
    """A cancellation is lost when what was cancelled raises something else. A stop waited for such a task for ever."""
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DatabaseUnavailable("silent") from None

    runner, _ = make_runner(Task("work", 7.0, run, at_start=True))
    async with asyncio.timeout(10), runner.running():
        await begun.wait()
