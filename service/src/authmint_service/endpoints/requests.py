"""Around every request: an id, the headers every answer carries, one line in the log, and the last resort for errors."""

import json
import secrets
import time
from contextvars import ContextVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authmint import Principal, VerificationEvent
from authmint_service.logs import outcome, tell_also, tell_of, tell_outcome, where
from authmint_service.metrics import Metrics

log = structlog.get_logger("authmint_service.requests")

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """The id of the request that is being answered."""
    return _request_id.get()


def record_principal(who: Principal) -> None:
    """Who was let in, for the line of this request."""
    tell_also(sub=who.sub, client_id=who.client_id, sid=who.session_id, jti=who.claims["jti"])


def record_verification_event(event: VerificationEvent) -> None:
    """Why an access token was not believed, for the line of this request. An observer of the `ResourceServer`."""
    if event.name == "token_refused":
        tell_outcome("token.refused", reason=event.reason)


class RequestMiddleware:
    """The outermost middleware. Plain ASGI, so that streaming, cancellation and context variables stay as they are."""

    def __init__(self, app: ASGIApp, *, secure: bool, figures: Metrics) -> None:
        """`secure`: the issuer is https, so browsers shall never come without."""
        self._app, self._figures = app, figures
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
            # What is about a person or a token is the rule here; what may be kept says so, and for how long.
            (b"cache-control", b"no-store"),
        ]
        if secure:
            self._headers.append((b"strict-transport-security", b"max-age=63072000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = secrets.token_hex(8)
        _request_id.set(name)
        facts: dict[str, object] = {"request_id": name, "peer": (scope.get("client") or ("", 0))[0]}
        tell_of(facts)
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, name)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log.error("error.unexpected", error_locations=where(error))  # noqa: TRY400 - the text of an error may hold a secret
            if status:
                raise
            await _last_resort(send_with_headers)
        finally:
            took = time.perf_counter() - started
            self._figures.request(scope, status, took, facts)
            log.info(outcome(), method=scope["method"], path=scope["path"], status=status, duration_ms=round(took * 1000, 1))

    def _add_headers(self, message: Message, name: str) -> None:
        headers = list(message["headers"])
        present = {header for header, _ in headers}
        # An answer that says something else of itself, as the documentation page does, knows why.
        headers += [header for header in self._headers if header[0] not in present]
        headers.append((b"x-request-id", name.encode()))
        message["headers"] = headers


async def _last_resort(send: Send) -> None:
    content = {"error": "server_error", "message": "Something went wrong on our side.", "request_id": request_id()}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
