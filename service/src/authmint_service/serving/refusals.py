"""Why the server refuses a connection or a request by itself, and the response that says so."""

from enum import Enum
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

RETRY_SECONDS = 2


class Refusal(Enum):
    """A status, and a sentence for people. None of them repeats what was sent."""

    NOT_HTTP = HTTPStatus.BAD_REQUEST, "The request is not HTTP."
    TOO_SLOW = HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time."
    BODY_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request body is too large."
    BODY_OVERHEAD = (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The request body has too many chunks, or too many trailer fields. Send larger chunks, or a Content-Length.",
    )
    HEAD_TOO_LARGE = (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request has too many header fields, or too long ones.",
    )
    TOO_MANY_REQUESTS = HTTPStatus.TOO_MANY_REQUESTS, "Too many requests wait for their responses on this connection."
    TOO_MANY_CONNECTIONS = HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open. Try again later."

    @property
    def status(self) -> HTTPStatus:
        return self.value[0]

    @property
    def reason(self) -> str:
        return self.value[1]

    @property
    def code(self) -> str:
        return "temporarily_unavailable" if self.status is HTTPStatus.SERVICE_UNAVAILABLE else "invalid_request"


def refusal_response(refusal: Refusal) -> bytes:
    """Return a whole HTTP response with a problem (RFC 9457)."""
    status = refusal.status
    body = b'{"type":"about:blank","title":"%s","status":%d,"detail":"%s","code":"%s"}' % (
        status.phrase.encode(), status, refusal.reason.encode(), refusal.code.encode(),
    )  # fmt: skip
    headers = (
        b"content-type: application/problem+json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
        b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
        b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n%sconnection: close\r\n\r\n"
    )
    retry = b"retry-after: %d\r\n" % RETRY_SECONDS if status is HTTPStatus.SERVICE_UNAVAILABLE else b""
    return STATUS_LINE[status] + headers % (len(body), retry) + body
