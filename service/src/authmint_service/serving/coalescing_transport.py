"""Head and body of an answer leave in one piece: one system call, and one packet, where uvicorn makes two of each."""

import asyncio

MAX_BUFFERED_BYTES = 64 * 1024
"""Bytes that wait for what comes with them."""


class CoalescingTransport:
    """All that an answer needs of a transport. What is written in one turn of the event loop is sent in the next, together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._send)
        self._held += data
        if len(self._held) > MAX_BUFFERED_BYTES:
            self._send()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _send(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            # Whoever asked may have gone since.
            if not self._transport.is_closing():
                self._transport.write(held)
