"""How many connections one listener has at a time, and which one gives its place to the next.

Each connection takes memory, and an open file, which the database needs as well. To connect and send nothing costs a client
nothing, so such a connection is closed first.
"""

import resource
from typing import Protocol

SILENT_SECONDS = 1.0
"""A client that has connected sends its first request sooner, or is not in a hurry: browsers connect ahead of need."""
MAX_INTERNAL_CONNECTIONS = 100
"""Of the internal listener."""
RESERVED_FILES = 400
"""Open files of a process beside its public connections: those to the database, internal ones, listeners, logs."""


class _Transport(Protocol):
    def close(self) -> None: ...


class _Connection(Protocol):
    made_at: float
    """By the clock of the event loop."""

    @property
    def transport(self) -> _Transport: ...


class ConnectionLimit:
    """The limit of one listener, and its connections without a request so far."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: dict[_Connection, None] = {}
        """The oldest first."""

    def admit(self, connection: _Connection, count: int) -> bool:
        """Return whether a new connection may stay; close a silent one for it if need be. `count`: of all, with this one."""
        if count > self._most:
            oldest = next(iter(self._silent), None)
            if oldest is None or connection.made_at - oldest.made_at < SILENT_SECONDS:
                return False
            # At once: its transport ends in a later turn of the event loop, and other connections may come before that.
            self.forget(oldest)
            oldest.transport.close()
        self._silent[connection] = None
        return True

    def forget(self, connection: _Connection) -> None:
        """Note that the connection has sent a request, or has ended."""
        self._silent.pop(connection, None)


def fit_open_files(connections: int) -> int:
    """Let this process open the files that so many connections need. Return how many connections it may have: perhaps fewer."""
    needed = connections + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, allowed - RESERVED_FILES)
