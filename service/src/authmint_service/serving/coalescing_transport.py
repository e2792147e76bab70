"""Sends head and body of a response together: one system call and one packet, where uvicorn makes two of each."""

import asyncio

MAX_BUFFERED_BYTES = 64 * 1024
"""More than this is sent at once, and never copied: many connections may wait for the same bytes."""


class CoalescingTransport:
    """The part of a transport that a response needs. It sends what was written in one turn of the event loop together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._buffer = b""
        self.written = 0
        """Bytes, those of the buffer not counted."""

    def write(self, data: bytes) -> None:
        if len(self._buffer) + len(data) > MAX_BUFFERED_BYTES:
            self._flush()
            self._send(data)
            return
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer += data

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close without sending what is written."""
        self._buffer = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes of `written` this process still holds."""
        return self._transport.get_write_buffer_size()

    def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._send(data)

    def _send(self, data: bytes) -> None:
        # The client may have disconnected in the meantime.
        if not self._transport.is_closing():
            self.written += len(data)
            self._transport.write(data)
