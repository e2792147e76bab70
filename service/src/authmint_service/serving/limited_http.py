"""Limits on a connection before any code reads it: bytes, header fields, seconds, and how many there are.

uvicorn has none of them, and waits without end for the rest of a request, and for a client that does not read. This protocol
counts bytes as they arrive, for all routes alike, those included that read no body. It responds to a request above a limit with
408, 413 or 431 where that is still possible, and closes the connection. A client that does not read its response is cut off.
"""

import asyncio

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from authmint_service.serving.coalescing_transport import CoalescingTransport
from authmint_service.serving.connection_limit import ConnectionLimit
from authmint_service.serving.refusals import Refusal, refusal_response

log = structlog.get_logger(__name__)

CHUNK_BYTES = 16 * 1024
MAX_HEAD_BYTES = 48 * 1024
"""The request line and the header fields, counted in chunks: a head of a third of it is always accepted."""
MAX_HEADERS = 100
MAX_BODY_BYTES = 2 * 1024 * 1024 + CHUNK_BYTES
"""As sent, with the overhead of chunked encoding. Above the limit of a form, whose own error says more."""
MAX_OVERHEAD_BYTES = 16 * 1024
"""Of a body in chunks: what is not content, so the sizes of chunks, their extensions, and trailers. Each chunk and each trailer
field costs as much time as a small request does."""
MAX_PIPELINED = 64
"""Requests that wait on one connection for the response to the one before them."""
MAX_SECONDS = 10
"""From the first byte of a request to its last; and from the connection to the first request."""
READ_SECONDS, MIN_READ_BYTES = 30, 64 * 1024
"""A client takes so much of its response in so many seconds, or all that is left of it."""


class _LimitExceeded(Exception):
    """Stops the parser before it passes on a request."""


class LimitedHTTPProtocol(HttpToolsProtocol):
    """One connection. `uvicorn.Config(http=LimitedHTTPProtocol)` makes one for each; see `limited_to` for their number."""

    limit: ConnectionLimit | None = None
    """Of all connections of one listener."""
    transport: CoalescingTransport  # type: ignore[assignment]  # has all that uvicorn calls of one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it as well
        super().connection_made(transport)
        self.transport = CoalescingTransport(transport, self.loop)
        self._received, self._content, self._has_begun, self._in_head, self._is_complete = 0, 0, False, True, False
        self._has_sent_request, self._refusal = False, Refusal.NOT_HTTP
        # One timer for each connection, and none for each request, of which there may be thousands a second.
        self.made_at = self.loop.time()
        self._deadline: float | None = self.made_at + MAX_SECONDS
        self._timer = self.loop.call_later(MAX_SECONDS, self._check_deadlines)
        self._read_deadline, self._to_be_sent = 0.0, 0
        if self.limit is not None and not self.limit.admit(self, len(self.connections)):
            self._refuse(Refusal.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self.limit is not None:
            self.limit.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_complete = False
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            self._received += len(chunk)
            super().data_received(chunk)
            if self.transport.is_closing():
                return
            if self._in_head:
                if self._received > MAX_HEAD_BYTES:
                    self._refuse(Refusal.HEAD_TOO_LARGE)
                    return
            elif self._received > MAX_BODY_BYTES:
                self._refuse(Refusal.BODY_TOO_LARGE)
                return
            elif self._received - self._content > MAX_OVERHEAD_BYTES:
                self._refuse(Refusal.BODY_OVERHEAD)
                return
        if self._deadline is None and not self._is_complete:
            self._deadline = self.loop.time() + MAX_SECONDS

    def on_message_begin(self) -> None:
        self._received, self._has_begun, self._in_head, self._is_complete = 0, True, True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._received > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = Refusal.HEAD_TOO_LARGE
            raise _LimitExceeded
        for name, value in self.headers:
            if name == b"content-length" and int(value) > MAX_BODY_BYTES:
                self._refusal = Refusal.BODY_TOO_LARGE
                raise _LimitExceeded
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = Refusal.TOO_MANY_REQUESTS
            raise _LimitExceeded
        if not self._has_sent_request:
            self._has_sent_request = True
            if self.limit is not None:
                self.limit.forget(self)
        self._received, self._content, self._in_head = 0, 0, False
        super().on_headers_complete()
        # The parser reports trailer fields as it does header fields. A proxy may not have seen them, and nobody reads them.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._received, self._content, self._is_complete, self._deadline = 0, 0, True, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request. uvicorn calls this when the parser has stopped, for whatever reason."""
        self._refuse(self._refusal)

    def _check_deadlines(self) -> None:
        now, seconds = self.loop.time(), float(MAX_SECONDS)
        if not self._is_reading(now):
            log.info("connection.aborted", ip_address=self._ip_address)
            self.transport.abort()
            return
        # Without a deadline no request is awaited. While this side does not read, the client is not late.
        if self._deadline is not None and not self.flow.read_paused and not self.transport.is_closing():
            if self._deadline <= now:
                self._refuse(Refusal.TOO_SLOW)
            else:
                seconds = self._deadline - now
        # Also after the end: what a client does not read keeps a closed connection open.
        self._timer = self.loop.call_later(seconds, self._check_deadlines)

    def _is_reading(self, now: float) -> bool:
        """Return whether the client has taken enough of what was written since the last time."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting:
            self._read_deadline = 0.0
        elif not self._read_deadline or self.transport.written - waiting >= self._to_be_sent:
            self._read_deadline = now + READ_SECONDS
            self._to_be_sent = self.transport.written - waiting + min(waiting, MIN_READ_BYTES)
        # A timer may fire a little early by another clock.
        return not waiting or now < self._read_deadline - 0.01

    def _refuse(self, refusal: Refusal) -> None:
        log.info("connection.refused", status=int(refusal.status), reason=refusal.reason, ip_address=self._ip_address)
        latest: RequestResponseCycle | None = self.cycle
        can_respond = refusal is Refusal.TOO_MANY_CONNECTIONS or self._can_respond(latest)
        if can_respond:
            self.transport.write(refusal_response(refusal))
        if latest is not None and not latest.response_complete:
            latest.disconnected = True
            latest.message_event.set()
        if not self._in_head and not can_respond and self.transport.get_write_buffer_size():
            # It goes on sending a body, and does not read the response to its own request. To close would wait for that.
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def _ip_address(self) -> str:
        return self.client[0] if self.client else ""

    def _can_respond(self, latest: RequestResponseCycle | None) -> bool:
        """Return whether the client takes what is written now for the response to the refused request, and to no other.

        `latest`: the request that is being served, or was served last.
        """
        if latest is None:
            # A client that has not sent a byte gets no response.
            return self._received > 0 or self._has_begun
        if self._in_head:
            return latest.response_complete
        return not latest.response_started and not self.pipeline


def limited_to(max_connections: int) -> type[LimitedHTTPProtocol]:
    """Return the protocol of one listener that has at most so many connections at a time."""
    return type("LimitedHTTPProtocol", (LimitedHTTPProtocol,), {"limit": ConnectionLimit(max_connections)})
