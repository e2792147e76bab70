"""Around every request: an id, the headers every answer carries, one line in the log, and the last resort for errors."""

import json
import secrets
import time

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authmint import Principal, VerificationEvent
from authmint_service.logs import error_locations
from authmint_service.metrics import Metrics
from authmint_service.request_log import Outcome, RequestRecord, current_record
from authmint_service.request_source import RequestSource

log = structlog.get_logger(__name__)


def request_id() -> str:
    """Return the id of the current request, "" outside of one."""
    return current_record().fields.get("request_id", "")


def request_source(request: Request) -> RequestSource:
    """Return where the request that is being handled comes from."""
    ip_address = None if request.client is None else request.client.host
    return RequestSource(request_id=request_id(), ip_address=ip_address, user_agent=request.headers.get("user-agent"))


def record_principal(principal: Principal) -> None:
    """Record whose access token was accepted."""
    claims = principal.claims
    current_record().add(sub=principal.sub, client_id=principal.client_id, sid=principal.session_id, jti=claims["jti"])


def record_verification_event(event: VerificationEvent) -> None:
    """Record why an access token was refused. This is the observer of the `ResourceServer`."""
    if event.name == "token_refused":
        current_record().set_outcome(Outcome.TOKEN_REFUSED, reason=event.reason)


class RequestMiddleware:
    """The outermost middleware. Plain ASGI, so that streaming, cancellation and context variables stay as they are."""

    def __init__(self, app: ASGIApp, *, secure: bool, metrics: Metrics) -> None:
        """`secure`: the issuer is https, so browsers shall never come without."""
        self._app, self._metrics = app, metrics
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
        record = RequestRecord(request_id=name, ip_address=(scope.get("client") or ("", 0))[0])
        record.bind()
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
            log.error("error.unexpected", error_locations=error_locations(error))  # noqa: TRY400 - the text of an error may hold a secret
            if status:
                raise
            await _last_resort(send_with_headers)
        finally:
            took = time.perf_counter() - started
            self._count(record, scope, status, took)
            log.info(
                record.outcome.value,
                method=scope["method"], path=scope["path"], status=status, duration_ms=round(took * 1000, 1),
            )  # fmt: skip

    def _count(self, record: RequestRecord, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.observe_request(scope, status, seconds)
        fields = record.fields
        if record.outcome is Outcome.TOKEN_ISSUED:
            self._metrics.count_token(fields.get("grant_type"))
        elif "error" in fields:
            self._metrics.count_oauth_error(fields["error"], fields.get("grant_type"))

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
