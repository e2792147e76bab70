"""What a request may cost before anyone has read it: so many bytes, so many header fields, so many seconds.

uvicorn bounds none of these, and waits for ever for a request that was begun. This counts bytes as they arrive, for every route
alike, also for those that read no body. What is under way on a connection is answered with 408, 413 or 431 where that is still
possible, and the connection is closed.
"""

import asyncio
from http import HTTPStatus

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from authmint_service.serving.coalescing_transport import CoalescingTransport

log = structlog.get_logger(__name__)

PIECE = 16 * 1024
LARGEST_HEAD = 48 * 1024
"""Bytes of the request line and the header fields, counted in pieces: a third of it is never too much."""
MOST_HEADERS = 100
LARGEST_BODY = 2 * 1024 * 1024 + PIECE
"""Bytes as they come over the wire, with what chunks add to them; a little more than a form may have, which answers better."""
SECONDS = 10
"""From the first byte of a request to its last; and from the connection to the first request."""

_REASONS = {
    HTTPStatus.BAD_REQUEST: "The request is not HTTP.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request body is too large.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request has too many header fields, or too long ones.",
}


class _Refused(Exception):
    """Stops the parser before it hands on a request."""


class LimitedHTTPProtocol(HttpToolsProtocol):
    """One connection. `uvicorn.Config(http=LimitedHTTPProtocol)` makes one for each."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it as well
        super().connection_made(transport)
        self.transport = CoalescingTransport(transport, self.loop)  # type: ignore[assignment]  # has all that is called of one
        self._arrived, self._has_begun, self._in_head, self._is_whole = 0, False, True, False
        self._status = HTTPStatus.BAD_REQUEST
        # One timer for each connection, and none for each request, of which there may be thousands a second.
        self._due: float | None = self.loop.time() + SECONDS
        self._timer = self.loop.call_later(SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_whole = False
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._arrived += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if self._in_head and self._arrived > LARGEST_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            if self._arrived > LARGEST_BODY:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
        if self._due is None and not self._is_whole:
            self._due = self.loop.time() + SECONDS

    def on_message_begin(self) -> None:
        self._arrived, self._has_begun, self._in_head, self._is_whole = 0, True, True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._arrived > LARGEST_HEAD or len(self.headers) > MOST_HEADERS:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refused
        for name, value in self.headers:
            if name == b"content-length" and int(value) > LARGEST_BODY:
                self._status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                raise _Refused
        self._arrived, self._in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrived, self._is_whole, self._due = 0, True, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser has stopped, whatever stopped it."""
        self._refuse(self._status)

    def _look(self) -> None:
        now = self.loop.time()
        if self._due is None or self.flow.read_paused:
            # Nothing is awaited, or it is we who do not read: whoever is late then is not the client.
            self._timer = self.loop.call_later(SECONDS, self._look)
        elif self._due > now:
            self._timer = self.loop.call_later(self._due - now, self._look)
        elif not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        log.info("connection.refused", status=int(status), reason=_REASONS[status], peer=self.client[0] if self.client else "")
        latest: RequestResponseCycle | None = self.cycle
        if self._can_answer(latest):
            self.transport.write(_answer(status))
        if latest is not None and not latest.response_complete:
            latest.disconnected = True
            latest.message_event.set()
        self.transport.close()

    def _can_answer(self, latest: RequestResponseCycle | None) -> bool:
        """Whether what is written now is taken for the answer to the request that is refused, and to no other.

        `latest`: the request that is being answered, or was answered last.
        """
        if latest is None:
            # Whoever has not even begun to ask is told nothing.
            return self._arrived > 0 or self._has_begun
        if self._in_head:
            return latest.response_complete
        return not latest.response_started and not self.pipeline


def _answer(status: HTTPStatus) -> bytes:
    body = b'{"error": "invalid_request", "message": "%s"}' % _REASONS[status].encode()
    headers = (
        b"content-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[status] + headers % len(body) + body
