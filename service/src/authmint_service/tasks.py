"""What a process looks at every few seconds for as long as it runs, waiting for the database as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.logs import where

RETRY_SECONDS = 1.0
POLL_SECONDS = 3.0
"""How soon a process hears of what another one, or a command, has done with the keys."""

log = structlog.get_logger("authmint_service.tasks")


class Task:
    """Prepares the database once, and then looks again and again."""

    def __init__(
        self, look: Callable[[], Awaitable[object]], *, prepare: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """`prepare`: what must succeed before the database can be used (a migration). Both may raise DatabaseUnavailable."""
        self._look, self._prepare = look, prepare
        self.tried = asyncio.Event()
        """Set after the first attempt, whether it succeeded or not."""

    async def run(self) -> None:
        """Until it is cancelled."""
        said = ""
        while True:
            try:
                await self._once()
            except (DatabaseUnavailable, SchemaOutdated) as error:
                # Once for each new reason: a database that is away for an hour is not 3600 lines.
                if str(error) != said:
                    log.warning("database.unavailable", reason=str(error))
                said, pause = str(error), RETRY_SECONDS
            except Exception as error:
                # Whatever it was, the next look may succeed; without one this process would never hear of a new key.
                log.error("error.unexpected", error_locations=where(error))  # noqa: TRY400 - the text of an error may hold a secret
                pause = POLL_SECONDS
            else:
                if said:
                    log.info("database.available")
                said, pause = "", POLL_SECONDS
            self.tried.set()
            await asyncio.sleep(pause)

    async def _once(self) -> None:
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        await self._look()
