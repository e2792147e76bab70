"""Which pages of other origins may read responses (CORS): those in the settings, and those of clients with a refresh cookie.

The metadata and the keys are for all pages. A page that may read may send any header: tools for tracing add theirs to each of
its requests (`traceparent`, `baggage`, `sentry-trace`, …), and what matters is who asks.

Cookies are sent and accepted on `COOKIE_PATHS` alone, and for pages of clients with a refresh cookie alone. This middleware
does not know the client of a request, and a preflight names none; the endpoint checks the client's own list (`refresh_cookie`).
"""

import re
from collections.abc import Awaitable, Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE_PATHS = frozenset({"/token", "/revoke", "/account/v1/sessions/revoke-others", "/account/v1/password"})
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
PUBLIC_PATHS = "/.well-known/"
"""The beginning of the paths of documents for all pages. Their responses allow every origin."""
PREFLIGHT = {"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE", "Access-Control-Max-Age": "600"}
HEADERS = ("Authorization", "Content-Type", "X-Requested-With")
MAX_HEADERS = 64
"""Names in one preflight; a page that asks for more gets the first ones."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
EXPOSED = {"Access-Control-Expose-Headers": "WWW-Authenticate, Retry-After, X-Request-ID"}


class CrossOriginMiddleware:
    """Plain ASGI. It never allows `*`, and allows an origin only when that origin asked and is listed."""

    def __init__(
        self, app: ASGIApp, *, allowed_origins: Collection[str], cookie_origins: Callable[[], Awaitable[Collection[str]]]
    ) -> None:
        """`allowed_origins`: may read responses, without cookies; `cookie_origins`: finds those of clients with a cookie."""
        self._app, self._allowed_origins, self._cookie_origins = app, frozenset(allowed_origins), cookie_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _origin(scope) if scope["type"] == "http" else None
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = await self._allow(origin, scope["path"])
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # A response that sets the header itself is public, and stays as it is.
                if ALLOW_ORIGIN not in headers:
                    headers.add_vary_header("Origin")
                    headers.update(allowed)
            await send(message)

        if is_preflight and not allowed and scope["path"].startswith(PUBLIC_PATHS):
            allowed = {ALLOW_ORIGIN: "*"}
        if is_preflight and allowed:
            await Response(status_code=204, headers=PREFLIGHT | _allowed_headers(scope))(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    async def _allow(self, origin: str, path: str) -> dict[str, str]:
        if origin in await self._cookie_origins():
            with_cookies = {"Access-Control-Allow-Credentials": "true"} if path in COOKIE_PATHS else {}
            return {ALLOW_ORIGIN: origin, **EXPOSED, **with_cookies}
        return {ALLOW_ORIGIN: origin, **EXPOSED} if origin in self._allowed_origins else {}


def _allowed_headers(scope: Scope) -> dict[str, str]:
    requested = ",".join(Headers(scope=scope).getlist("access-control-request-headers"))
    known = {name.lower() for name in HEADERS}
    names = dict.fromkeys(name for part in requested.split(",") if _NAME.fullmatch(name := part.strip()))
    more = [name for name in names if name.lower() not in known]
    return {"Access-Control-Allow-Headers": ", ".join([*HEADERS, *more[:MAX_HEADERS]])}


def _origin(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)
