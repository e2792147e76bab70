"""The database's time: the one clock that all processes share, for what they must agree on."""

from collections.abc import Awaitable, Callable

import structlog

from authmint_service.database import Database

MAX_OFFSET_SECONDS = 10.0

log = structlog.get_logger(__name__)


class DatabaseClock:
    """The database's clock, read from time to time and extrapolated by this process's clock in between."""

    def __init__(self, clock: Callable[[], float], ask: Callable[[], Awaitable[float]]) -> None:
        """`clock`: this process's, seconds since the epoch; `ask`: the database for its."""
        self._clock, self._ask = clock, ask
        self.offset = 0.0
        """Seconds by which this process's clock is ahead of the database's; negative when it is behind."""
        self._was_skewed = False

    @classmethod
    def of(cls, database: Database, clock: Callable[[], float]) -> "DatabaseClock":
        async def ask() -> float:
            return float(await database.fetch_value("SELECT extract(epoch FROM clock_timestamp())"))

        return cls(clock, ask)

    def __call__(self) -> float:
        return self._clock() - self.offset

    async def compare(self) -> float:
        """Read the database's clock and return its time. Log when the offset becomes too large. Raises DatabaseUnavailable."""
        before = self._clock()
        theirs = await self._ask()
        # The database read its clock at some time between the request and the response.
        self.offset = (before + self._clock()) / 2 - theirs
        if self.is_skewed and not self._was_skewed:
            log.warning("clock.skewed", offset_seconds=round(self.offset, 1))
        elif self._was_skewed and not self.is_skewed:
            log.info("clock.corrected", offset_seconds=round(self.offset, 1))
        self._was_skewed = self.is_skewed
        return self()

    @property
    def is_skewed(self) -> bool:
        """Whether the offset is more than MAX_OFFSET_SECONDS."""
        return abs(self.offset) > MAX_OFFSET_SECONDS

    @property
    def warning(self) -> str | None:
        """A message for people; None while the clocks agree."""
        if not self.is_skewed:
            return None
        side = "ahead of" if self.offset > 0 else "behind"
        return (
            f"This process's clock is {abs(self.offset):.0f} seconds {side} the database's. Tokens carry its time: correct it."
        )
