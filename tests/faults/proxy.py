"""A TCP proxy with the faults of a network: it delays, drops and resets, and loses the response to work that was done."""

import asyncio
import itertools
import socket
import struct
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

PIECE = 64 * 1024


class Network(Enum):
    """What happens to the bytes."""

    GOOD = "they pass"
    BLACK_HOLE = "they are taken and never arrive, in both directions"
    RESET = "every connection is reset at its next byte"
    LOSE_ANSWERS = "requests arrive; the response is lost, and the connection is reset"


class Proxy:
    """Between clients and servers on this machine. `network` and `delay`, seconds for each piece, may change at any time."""

    def __init__(self, *ports: int, listen: int = 0) -> None:
        """`ports`: the servers', for one connection after another; `listen`: its own, 0 for any."""
        self._upstreams, self._listen = itertools.cycle(ports), listen
        self.network, self.delay = Network.GOOD, 0.0
        self.port, self.answers_lost = 0, 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._listen)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        upstream: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.CancelledError):
            answers, upstream = await asyncio.open_connection("127.0.0.1", next(self._upstreams))
            pumps = (
                asyncio.create_task(self._pump(reader, upstream, is_answer=False)),
                asyncio.create_task(self._pump(answers, writer, is_answer=True)),
            )
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        for side in filter(None, (writer, upstream)):
            side.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while piece := await source.read(PIECE):
                await asyncio.sleep(self.delay)
                if self.network is Network.BLACK_HOLE:
                    await asyncio.get_running_loop().create_future()
                if self.network is Network.RESET or (self.network is Network.LOSE_ANSWERS and is_answer):
                    self.answers_lost += is_answer
                    _reset(target)
                    return
                target.write(piece)
                await target.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
