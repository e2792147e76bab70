"""One caller of a process at a time does something, and all others wait for the end of its turn.

The callers may be threads, and tasks of any event loop. A turn also ends when its caller is cancelled.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

Turn = Future[None]
"""Done at the end of the turn, with the error that ended it."""


class Turns:
    """Whose turn it is."""

    def __init__(self) -> None:
        # By process: what is under way in a parent is not under way in its child. And no lock, which a fork could copy locked.
        self._current: dict[int, Turn] = {}

    def claim(self) -> tuple[Turn, bool]:
        """Return the current turn, and whether it is the caller's own, who must then `take` it."""
        mine = Turn()
        current = self._current.setdefault(os.getpid(), mine)
        return current, current is mine

    @contextmanager
    def take(self, turn: Turn) -> Iterator[None]:
        """Have the turn inside the block. An exception that is raised in it is the error of all who wait."""
        process = os.getpid()
        self._current[process] = turn
        found: Exception | None = None
        try:
            yield
        except Exception as error:
            found = error
            raise
        finally:
            if self._current.get(process) is turn:
                del self._current[process]
            if found is None:
                turn.set_result(None)
            else:
                turn.set_exception(found)
