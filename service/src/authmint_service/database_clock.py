"""The time of the database: the clock that all processes share, for decisions on which they must agree."""

from collections.abc import Awaitable, Callable

import structlog

from authmint_service.database import Database

MAX_OFFSET_SECONDS = 10.0

log = structlog.get_logger("authmint_service.clock")


class DatabaseClock:
    """The database's clock, read at intervals; between two readings this process's clock continues it."""

    def __init__(self, clock: Callable[[], float], ask: Callable[[], Awaitable[float]]) -> None:
        """`clock`: this process's, in seconds since the epoch; `ask`: returns the database's, in the same unit."""
        self._clock, self._ask = clock, ask
        self.ahead = 0.0
        """Seconds by which this process's clock is ahead of the database's; negative when behind."""
        self._was_off = False

    @classmethod
    def of(cls, database: Database, clock: Callable[[], float]) -> "DatabaseClock":
        async def ask() -> float:
            return float(await database.fetch_value("SELECT extract(epoch FROM clock_timestamp())"))

        return cls(clock, ask)

    def __call__(self) -> float:
        return self._clock() - self.ahead

    async def compare(self) -> float:
        """Read the database's clock, log if the clocks differ too much, and return its time. Raise DatabaseUnavailable."""
        before = self._clock()
        theirs = await self._ask()
        # The database read its clock at some time between the request and the response.
        self.ahead = (before + self._clock()) / 2 - theirs
        if self.is_off and not self._was_off:
            log.warning("clock.skewed", offset_seconds=round(self.ahead, 1))
        elif self._was_off and not self.is_off:
            log.info("clock.corrected", offset_seconds=round(self.ahead, 1))
        self._was_off = self.is_off
        return self()

    @property
    def is_off(self) -> bool:
        return abs(self.ahead) > MAX_OFFSET_SECONDS

    @property
    def warning(self) -> str | None:
        """Return a sentence for people; None while the clocks agree."""
        if not self.is_off:
            return None
        side = "ahead of" if self.ahead > 0 else "behind"
        return (
            f"This process's clock is {abs(self.ahead):.0f} seconds {side} the database's. Tokens carry its time: correct it."
        )
