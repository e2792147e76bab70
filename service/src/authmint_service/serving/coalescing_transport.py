"""Sends head and body of a response together: one system call and one packet, where uvicorn makes two of each."""

import asyncio

MAX_BUFFERED_BYTES = 64 * 1024
"""More than this is sent at once."""


class CoalescingTransport:
    """The part of a transport that a response needs. It sends what was written in one turn of the event loop together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._buffer = b""

    def write(self, data: bytes) -> None:
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer += data
        if len(self._buffer) > MAX_BUFFERED_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = self._buffer, b""
            # The client may have disconnected in the meantime.
            if not self._transport.is_closing():
                self._transport.write(data)
