"""Around every request: an id, the headers every answer carries, one line in the log, and the last resort for errors."""

import json
import secrets
import time
from contextvars import ContextVar

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import where

log = structlog.get_logger("service.requests")

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """The id of the request that is being answered."""
    return _request_id.get()


class RequestContext:
    """The outermost middleware. Plain ASGI, so that streaming, cancellation and context variables stay as they are."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        """`secure`: the issuer is https, so browsers shall never come without."""
        self._app = app
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        }
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=63072000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _request_id.set(secrets.token_hex(8))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id(), peer=(scope.get("client") or ("", 0))[0])
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log.error("unexpected error", error_at=where(error))  # noqa: TRY400 - the text of an error may hold a secret
            if status:
                raise
            await _last_resort(send_with_headers)
        finally:
            took = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=scope["method"], path=scope["path"], status=status, milliseconds=took)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = request_id()
        for name, value in self._headers.items():
            headers.setdefault(name, value)


async def _last_resort(send: Send) -> None:
    content = {"error": "server_error", "message": "Something went wrong on our side.", "request_id": request_id()}
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
