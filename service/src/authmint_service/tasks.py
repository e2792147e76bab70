"""Background tasks: what a process does every few seconds for as long as it runs, however long the database is unavailable."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.logs import error_locations

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is done again and again."""

    name: str
    every: float
    """Seconds from the end of one run to the next."""
    run: Callable[[], Awaitable[object]]
    """May raise DatabaseUnavailable or SchemaOutdated: then it is tried again after RETRY_SECONDS."""


class TaskRunner:
    """Prepares the database once, and then runs a task again and again."""

    def __init__(self, task: Task, *, prepare: Callable[[], Awaitable[object]] | None = None) -> None:
        """`prepare`: what must succeed before the database can be used (a migration). It may raise what the task may."""
        self._task, self._prepare = task, prepare
        self.tried = asyncio.Event()
        """Set after the first attempt, whether it succeeded or not."""

    @property
    def name(self) -> str:
        return self._task.name

    async def run(self) -> None:
        """Run the task until this one is cancelled."""
        logged = ""
        while True:
            try:
                await self._run_once()
            except (DatabaseUnavailable, SchemaOutdated) as error:
                # One line for each new reason: a database that is unavailable for an hour is not 3600 lines.
                if str(error) != logged:
                    log.warning("database.unavailable", reason=str(error))
                logged, pause = str(error), RETRY_SECONDS
            except Exception as error:
                # The next run may succeed. If the task ended here, this process would never learn of a new key.
                log.error("error.unexpected", error_locations=error_locations(error))  # noqa: TRY400 - the text of an error may hold a secret
                pause = self._task.every
            else:
                if logged:
                    log.info("database.available")
                logged, pause = "", self._task.every
            self.tried.set()
            await asyncio.sleep(pause)

    async def _run_once(self) -> None:
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        await self._task.run()
