"""Limits on a request before any code reads it: bytes, header fields and seconds.

uvicorn has none of them, and waits without end for the rest of a request. This protocol counts bytes as they arrive, for all
routes alike, those included that read no body. It responds to a request above a limit with 408, 413 or 431 where that is still
possible, and closes the connection.
"""

import asyncio
from http import HTTPStatus

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from authmint_service.serving.coalescing_transport import CoalescingTransport

log = structlog.get_logger(__name__)

CHUNK_BYTES = 16 * 1024
MAX_HEAD_BYTES = 48 * 1024
"""The request line and the header fields, counted in chunks: a head of a third of it is always accepted."""
MAX_HEADERS = 100
MAX_BODY_BYTES = 2 * 1024 * 1024 + CHUNK_BYTES
"""As sent, with the overhead of chunked encoding. Above the limit of a form, whose own error says more."""
MAX_SECONDS = 10
"""From the first byte of a request to its last; and from the connection to the first request."""

_REASONS = {
    HTTPStatus.BAD_REQUEST: "The request is not HTTP.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request body is too large.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request has too many header fields, or too long ones.",
}


class _LimitExceeded(Exception):
    """Stops the parser before it passes on a request."""


class LimitedHTTPProtocol(HttpToolsProtocol):
    """One connection. `uvicorn.Config(http=LimitedHTTPProtocol)` makes one for each."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it as well
        super().connection_made(transport)
        self.transport = CoalescingTransport(transport, self.loop)  # type: ignore[assignment]  # has all that is called of one
        self._received, self._has_begun, self._in_head, self._is_complete = 0, False, True, False
        self._status = HTTPStatus.BAD_REQUEST
        # One timer for each connection, and none for each request, of which there may be thousands a second.
        self._deadline: float | None = self.loop.time() + MAX_SECONDS
        self._timer = self.loop.call_later(MAX_SECONDS, self._check_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_complete = False
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            self._received += len(chunk)
            super().data_received(chunk)
            if self.transport.is_closing():
                return
            if self._in_head and self._received > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            if self._received > MAX_BODY_BYTES:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
        if self._deadline is None and not self._is_complete:
            self._deadline = self.loop.time() + MAX_SECONDS

    def on_message_begin(self) -> None:
        self._received, self._has_begun, self._in_head, self._is_complete = 0, True, True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._received > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _LimitExceeded
        for name, value in self.headers:
            if name == b"content-length" and int(value) > MAX_BODY_BYTES:
                self._status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                raise _LimitExceeded
        self._received, self._in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._received, self._is_complete, self._deadline = 0, True, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request. uvicorn calls this when the parser has stopped, for whatever reason."""
        self._refuse(self._status)

    def _check_deadline(self) -> None:
        now = self.loop.time()
        if self._deadline is None or self.flow.read_paused:
            # No request is awaited, or it is this side that does not read: the client is not late.
            self._timer = self.loop.call_later(MAX_SECONDS, self._check_deadline)
        elif self._deadline > now:
            self._timer = self.loop.call_later(self._deadline - now, self._check_deadline)
        elif not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        ip_address = self.client[0] if self.client else ""
        log.info("connection.refused", status=int(status), reason=_REASONS[status], ip_address=ip_address)
        latest: RequestResponseCycle | None = self.cycle
        if self._can_respond(latest):
            self.transport.write(_response(status))
        if latest is not None and not latest.response_complete:
            latest.disconnected = True
            latest.message_event.set()
        self.transport.close()

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


def _response(status: HTTPStatus) -> bytes:
    """Return a whole HTTP response with a problem (RFC 9457)."""
    body = b'{"type":"about:blank","title":"%s","status":%d,"detail":"%s","code":"invalid_request"}' % (
        status.phrase.encode(), status, _REASONS[status].encode(),
    )  # fmt: skip
    headers = (
        b"content-type: application/problem+json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[status] + headers % len(body) + body
