"""What holds for every request: an id, headers of every response, one line in the log, and a response to unexpected errors."""

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authmint import Principal, VerificationEvent
from authmint_service.endpoints.field_errors import FieldError
from authmint_service.logs import error_locations
from authmint_service.metrics import Metrics
from authmint_service.request_log import Outcome, RequestRecord, current_record
from authmint_service.request_source import Actor, RequestSource
from authmint_service.trusted_proxies import TrustedProxies

SOURCE_KEY = "authmint_service.source"
"""Where the scope of a request has its `RequestSource`."""
PROBLEM_MEDIA_TYPE = "application/problem+json"
_HOST = re.compile(rb"(?:\[[^]\s/?#@]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")

log = structlog.get_logger(__name__)


def request_id() -> str:
    """Return the id of the current request, "" outside of one."""
    return current_record().fields.get("request_id", "")


def request_source(request: Request) -> RequestSource:
    """Return where the request comes from, as the middleware has put it into the scope."""
    source: RequestSource = request.scope[SOURCE_KEY]
    return source


def actor_of(principal: Principal) -> Actor:
    """Return who acts with an access token: an account through a client, or a client for itself."""
    return Actor(kind="account" if principal.is_user else "client", id=principal.sub, client_id=principal.client_id)


def problem_members(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> dict[str, object]:
    """Return the members of a problem document (RFC 9457): `code` for programs, `detail` a sentence for people.

    `errors`: what is wrong with single fields.
    """
    title = HTTPStatus(status).phrase
    problem_type = "about:blank"
    return {
        "type": problem_type, "title": title, "status": status, "detail": detail, "code": code, "request_id": request_id(),
        **({"errors": [asdict(error) for error in errors]} if errors else {}),
    }  # fmt: skip


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

    def __init__(self, app: ASGIApp, *, secure: bool, metrics: Metrics, proxies: TrustedProxies) -> None:
        """`secure`: the issuer is https, so browsers are told never to use http; `proxies`: whose headers are used."""
        self._app, self._metrics, self._proxies = app, metrics, proxies
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
            # Most responses are about a person or a token. A response that may be cached sets this header itself.
            (b"cache-control", b"no-store"),
        ]
        if secure:
            self._headers.append((b"strict-transport-security", b"max-age=63072000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = secrets.token_hex(8)
        scope[SOURCE_KEY] = source = self._read_source(scope, name)
        record = RequestRecord(request_id=name, ip_address=source.ip_address or "")
        bound = record.bind()
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, name)
            await send(message)

        app = self._app if _has_host(scope) else _refuse_host
        try:
            await app(scope, receive, send_with_headers)
        except Exception as error:
            locations = error_locations(error)
            log.error("error.unexpected", error_locations=locations)  # noqa: TRY400 - the text of an error may hold a secret
            if status:
                raise
            await _send_server_error(send_with_headers)
        finally:
            took = time.perf_counter() - started
            self._count(record, scope, status, took)
            event = record.outcome.value
            write = log.debug if record.is_routine else log.info
            write(event, method=scope["method"], path=scope["path"], status=status, duration_ms=round(took * 1000, 1))
            record.unbind(bound)

    def _read_source(self, scope: Scope, name: str) -> RequestSource:
        client, headers = scope.get("client"), scope["headers"]
        address = self._proxies.find_client(client[0] if client else None, headers)
        user_agent = next((value.decode("latin-1") for header, value in headers if header == b"user-agent"), None)
        return RequestSource(request_id=name, ip_address=address, user_agent=user_agent)

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
        # A response that has one of these headers keeps it, as the documentation page does.
        headers += [header for header in self._headers if header[0] not in present]
        headers.append((b"x-request-id", name.encode()))
        message["headers"] = headers


def _has_host(scope: Scope) -> bool:
    """Return whether the request has one valid Host, as RFC 9112, section 3.2, wants it. HTTP/1.0 knows none."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if not hosts:
        return bool(scope["http_version"] == "1.0")
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


async def _refuse_host(_: Scope, __: Receive, send: Send) -> None:
    # Proxy and server may read such a request as two different ones, so nothing more is read from the connection.
    current_record().add(error="invalid_request", reason="no valid Host, or more than one")
    await _send_problem(send, 400, "invalid_request", "The request must have one valid Host header field.", close=True)


async def _send_server_error(send: Send) -> None:
    await _send_problem(send, 500, "server_error", "Something went wrong on our side.")


async def _send_problem(send: Send, status: int, code: str, detail: str, *, close: bool = False) -> None:
    body = json.dumps(problem_members(status, code, detail)).encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
