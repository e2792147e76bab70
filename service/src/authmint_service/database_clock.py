"""The time of the database: the clock that all processes share, for decisions on which they must agree."""

from collections.abc import Awaitable, Callable

import structlog

MAX_OFFSET_SECONDS = 10.0

log = structlog.get_logger(__name__)


class DatabaseClock:
    """The database's clock, as the change feed reads it, extrapolated by this process's clock in between."""

    def __init__(self, clock: Callable[[], float], ask: Callable[[], Awaitable[float]] | None = None) -> None:
        """`clock`: this process's, in seconds since the epoch; `ask`: returns the database's, in tests."""
        self.local, self._ask = clock, ask
        self.offset = 0.0
        """Seconds by which this process's clock is ahead of the database's; negative when it is behind."""
        self._is_new, self._was_skewed = True, False

    def __call__(self) -> float:
        return self.local() - self.offset

    async def of_reading(self, theirs: float) -> float:
        """Return the database's time of a reading that says `theirs`: in tests another one."""
        return theirs if self._ask is None else await self._ask()

    async def observe(self, before: float, theirs: float) -> None:
        """Take note of the database's time in a response that was read just now. Log when the offset becomes too large.

        `before`: `local()` before the request.
        """
        theirs = await self.of_reading(theirs)
        # The database read its clock at some time between the request and the response.
        smallest, largest = before - theirs, self.local() - theirs
        # A response that was long on its way says less than one before it that was not.
        self.offset = (smallest + largest) / 2 if self._is_new else min(max(self.offset, smallest), largest)
        self._is_new = False
        if self.is_skewed and not self._was_skewed:
            log.warning("clock.skewed", offset_seconds=round(self.offset, 1))
        elif self._was_skewed and not self.is_skewed:
            log.info("clock.corrected", offset_seconds=round(self.offset, 1))
        self._was_skewed = self.is_skewed

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
