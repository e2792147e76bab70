"""A clock for ages: it never goes back, and what passes while the process is frozen or the computer sleeps has passed."""

import time
from collections.abc import Callable


class ElapsedTime:
    """Seconds of the monotonic clock, and those by which the wall clock went ahead of it.

    The monotonic clock may stand still while a virtual machine is paused, and the wall clock may be set back.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time) -> None:
        self._monotonic, self._wall_clock = monotonic, wall_clock
        self._ahead = wall_clock() - monotonic()

    def __call__(self) -> float:
        now = self._monotonic()
        ahead = self._wall_clock() - now
        if ahead > self._ahead:
            self._ahead = ahead
        return now + self._ahead
