"""The driver: sends requests to a server over some connections, as fast as it responds or at a pace, on a core of its own."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import cast

NextRequest = Callable[[bytes | None], bytes | None]
"""Returns the next request of one connection, given the last response (None at first); None when there are no more."""


@dataclass
class Load:
    """The responses of one run."""

    responses: int = 0
    refused: int = 0
    """Those with another status than 200."""
    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Responses a second."""
        return self.responses / self.seconds

    def p99(self) -> float:
        """Return the 99th percentile in milliseconds."""
        return sorted(self.milliseconds)[int(len(self.milliseconds) * 0.99)]


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self, next_request: NextRequest, load: Load, *, tolerant: bool, pause: float) -> None:
        self._next_request, self._load, self._tolerant, self._pause = next_request, load, tolerant, pause
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received, self._sent_at = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def start(self, after: float) -> None:
        asyncio.get_running_loop().call_later(after, self._send, None)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0 or len(received) < end + 4 + _length(received, end):
            self._received = received
            return
        self._received = b""
        self._load.responses += 1
        self._load.milliseconds.append((time.perf_counter() - self._sent_at) * 1000)
        if received[9:12] != b"200":
            self._load.refused += 1
            if not self._tolerant:
                self._end(AssertionError(received.decode()))
                return
        if self._pause:
            wait = self._sent_at + self._pause - time.perf_counter()
            asyncio.get_running_loop().call_later(max(0.0, wait), self._send, received)
        else:
            self._send(received)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server has closed the connection"))

    def _send(self, response: bytes | None) -> None:
        request = self._next_request(response)
        if request is None:
            self._end(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error) if error else self.ended.set_result(None)


async def drive(ports: Sequence[int], requests: Sequence[NextRequest], *, tolerant: bool = False, pause: float = 0.0) -> Load:
    """Run each of `requests` over a connection of its own to 127.0.0.1, at the ports in turn, until all have ended.

    `tolerant`: another status than 200 is counted; otherwise it is an error. `pause`: the least seconds from one request of a
    connection to its next.
    """
    load, loop, connections = Load(), asyncio.get_running_loop(), []
    for number, next_request in enumerate(requests):
        connection = _Connection(next_request, load, tolerant=tolerant, pause=pause)
        port = ports[number % len(ports)]
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", port)  # type: ignore[misc]
        connections.append(connection)
    started = time.perf_counter()
    for number, connection in enumerate(connections):
        # With a pause they begin one after another, so that they do not send all at once again and again.
        connection.start(pause * number / len(connections))
    await asyncio.gather(*(connection.ended for connection in connections))
    load.seconds = time.perf_counter() - started
    return load


def each(requests: Sequence[bytes]) -> NextRequest:
    """Send each of these requests once."""
    remaining = iter(requests)
    return lambda _: next(remaining, None)


def repeat(requests: Sequence[bytes], seconds: float) -> NextRequest:
    """Send the same requests again and again, for `seconds`."""
    ends, number = time.perf_counter() + seconds, 0

    def next_request(_: bytes | None) -> bytes | None:
        nonlocal number
        number += 1
        return requests[number % len(requests)] if time.perf_counter() < ends else None

    return next_request


def _length(received: bytes, end: int) -> int:
    head = received[:end].lower()
    at = head.find(b"content-length:")
    return int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else end]) if at >= 0 else 0


@cache
def cores() -> tuple[int, int]:
    """Return one for the server and one for the driver. To be called before this process is bound to one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("This benchmark needs two cores: one for the server and one for the driver.")
    return usable[0], usable[1]


@contextmanager
def pinned_to(*chosen: int) -> Iterator[None]:
    """Bind this process, and what it starts inside the block, to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
