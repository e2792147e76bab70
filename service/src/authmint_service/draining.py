"""A stop that loses nothing: first the balancers go elsewhere, then the connections end, then the process does.

A request that a client sends on a kept-alive connection while the server closes it is lost, and the client cannot know whether
it was served. So a server that is told to stop goes on serving for a while: `/readyz` says 503, every answer says
`Connection: close`, and whoever keeps a connection without using it is cut off by the ordinary timeout.
"""

import asyncio
import socket
import time

import uvicorn

POLL_SECONDS = 0.1
LAST_ACCEPTED_SECONDS = 0.3
"""What was accepted in the last moment gets so long to be read."""


class Draining:
    """Whether this process was told to stop. Shared by the server, which sets it, and the endpoints, which say so."""

    def __init__(self) -> None:
        self.has_begun = False


class DrainingServer(uvicorn.Server):
    """uvicorn's, with a time between the signal and the end in which it serves, and says that it will not for long."""

    def __init__(self, config: uvicorn.Config, draining: Draining, seconds: float) -> None:
        """`seconds`: of that time. A second signal ends it early."""
        super().__init__(config)
        self._draining, self._seconds = draining, seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._draining.has_begun = True
        if self._seconds:
            # httptools' protocol closes a connection after an answer with this header, whoever has put it there.
            self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
            await self._wait(self._seconds)
            for server in self.servers:
                server.close()
            await self._wait(LAST_ACCEPTED_SECONDS)
        await super().shutdown(sockets)

    async def _wait(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        # uvicorn's own handler sets a plain flag when the second signal comes.
        while not self.force_exit and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
