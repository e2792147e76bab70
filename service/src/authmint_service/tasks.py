"""Background tasks: what a process does every few seconds for as long as it runs, however long the database is unavailable.

A `Task` says what is done and how often. One `TaskRunner` runs all tasks of a process: no error ends one of them, and all end
with the process.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.leases import LeaseLost, Leases, LeaseTaken
from authmint_service.logs import error_locations

RETRY_SECONDS = 1.0
REMIND_SECONDS = 60.0
"""How often the log repeats why the database is unavailable."""
RETRIES = 60
"""A task that has an hour between its runs is not tried again each second: at least a sixtieth of it is waited for."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is done again and again."""

    name: str
    every: float
    """Seconds from the end of one run to the next."""
    run: Callable[[], Awaitable[object]]
    """May raise DatabaseUnavailable or SchemaOutdated: then it is tried again soon."""
    alone: bool = False
    """Whether one process at a time does it, and the others wait; `every` is then counted over all processes.

    Its lease has the task's name. Where a second run at the same time would do harm, `run` writes inside `Leases.transaction`.
    """
    at_start: bool = False
    """Whether the first run is at once, and the process waits for it before it serves. Otherwise it is at a random time in the
    second half of `every`, so that processes that start together do not work together."""
    uses_database: bool = True
    """Whether it waits until the database is prepared."""


class TaskRunner:
    """Runs the background tasks of a process."""

    def __init__(
        self,
        tasks: Sequence[Task],
        leases: Leases,
        *,
        prepare: Callable[[], Awaitable[object]] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prepare`: what must succeed once before the database can be used (a migration). It may raise what a task may.

        `sleep`: waits for some seconds; `spread`: returns a number from 0 to 1, so that processes do not work at the same time;
        `elapsed`: seconds by a clock that is never set back.
        """
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"two background tasks have one name: {sorted(names)}")
        self._tasks, self._leases, self._prepare = tuple(tasks), leases, prepare
        self._sleep, self._spread, self._elapsed = sleep, spread, elapsed
        self._preparing = asyncio.Lock()
        self._waiting_for = {task.name for task in tasks if task.at_start}
        self._problems: dict[str, str] = {}
        self._logged_at: dict[str, float] = {}
        self.started = asyncio.Event()
        """Set after the first attempt of each task that is `at_start`, whether it succeeded or not."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all tasks during the block. At its end they are cancelled, and have ended when this returns."""
        if not self._waiting_for:
            self.started.set()
        running = [asyncio.create_task(self._repeat(task), name=task.name) for task in self._tasks]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _repeat(self, task: Task) -> None:
        if not task.at_start:
            await self._sleep(task.every * (1 + self._spread()) / 2)
        while True:
            pause = await self._attempt(task)
            self._waiting_for.discard(task.name)
            if not self._waiting_for:
                self.started.set()
            if _is_cancelled():
                # What the task called has lost the cancellation, and raised another error in its place.
                return
            await self._sleep(pause)

    async def _attempt(self, task: Task) -> float:
        """Run the task once. Return for how many seconds to wait."""
        try:
            await self._run(task)
        except LeaseTaken as taken:
            # The holder may die: then its lease ends before `every` has passed.
            pause = min(max(taken.seconds, RETRY_SECONDS), task.every)
        except (DatabaseUnavailable, SchemaOutdated) as error:
            self._log_problem(task, str(error))
            return max(RETRY_SECONDS, task.every / RETRIES) * (0.5 + self._spread())
        except LeaseLost:
            log.warning("lease.lost", task=task.name)
            pause = min(RETRY_SECONDS, task.every)
        except Exception as error:
            # The next run may succeed. If the task ended here, this process would never learn of a new key.
            self._log_error(task, error)
            pause = task.every
        except asyncio.CancelledError as error:
            # Something that the task waited for was cancelled, and not the task.
            if _is_cancelled():
                raise
            self._log_error(task, error)
            pause = task.every
        else:
            pause = task.every
        if task.uses_database and self._problems.pop(task.name, "") and not self._problems:
            self._logged_at.clear()
            log.info("database.available")
        return pause

    async def _run(self, task: Task) -> None:
        if task.uses_database:
            await self._prepare_once()
        if not task.alone:
            await task.run()
            return
        # Kept a little longer than until this process's next run, so that one process goes on doing it.
        async with self._leases.hold(task.name, afterwards=task.every + RETRY_SECONDS):
            await task.run()

    async def _prepare_once(self) -> None:
        async with self._preparing:
            if self._prepare is not None:
                await self._prepare()
                self._prepare = None

    def _log_problem(self, task: Task, reason: str) -> None:
        # A database that is unavailable for an hour is not 3600 lines for each task, and not one line that has scrolled away.
        now = self._elapsed()
        is_new = reason not in self._problems.values()
        if is_new or now - self._logged_at[reason] >= REMIND_SECONDS:
            log.warning("database.unavailable", reason=reason)
            self._logged_at[reason] = now
        self._problems[task.name] = reason

    def _log_error(self, task: Task, error: BaseException) -> None:
        log.error("error.unexpected", task=task.name, error_locations=error_locations(error))


def _is_cancelled() -> bool:
    """Return whether the current task has been asked to end."""
    current = asyncio.current_task()
    return current is None or current.cancelling() > 0
