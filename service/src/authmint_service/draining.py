"""A stop that loses nothing: first load balancers turn to other processes, then connections close, then the process ends.

A request that a client sends on a kept-alive connection while the server closes it is lost, and the client cannot know whether
it was served. So a server that receives a signal to stop goes on serving for a while: `/readyz` says 503, every response has
`Connection: close`, and the ordinary timeout closes connections that are not in use.
"""

import asyncio
import socket
import time

import uvicorn

POLL_SECONDS = 0.1
READ_SECONDS = 0.3
"""After the listener is closed: so long the last connections that it accepted have to send their request."""


class Draining:
    """Whether this process received a signal to stop. The server sets it, endpoints read it."""

    def __init__(self) -> None:
        self.has_begun = False


class DrainingServer(uvicorn.Server):
    """A uvicorn server that serves on for some time after the signal, and announces that it will stop."""

    def __init__(self, config: uvicorn.Config, draining: Draining, seconds: float) -> None:
        """`seconds`: how long it serves on. A second signal ends that time."""
        super().__init__(config)
        self._draining, self._seconds = draining, seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._draining.has_begun = True
        if self._seconds:
            # httptools' protocol closes a connection after a response with this header, whatever has set it.
            self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
            await self._wait(self._seconds)
            for server in self.servers:
                server.close()
            await self._wait(READ_SECONDS)
        await super().shutdown(sockets)

    async def _wait(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        # uvicorn's own handler sets a plain flag when the second signal comes.
        while not self.force_exit and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
