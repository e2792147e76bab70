"""Who may read answers from another origin (CORS): the pages listed in the settings, and the pages of clients with a cookie.

Cookies are sent and taken at `/token` and `/revoke` alone, and for the pages of those clients alone. Which client a request
is of is not known here, nor in a preflight; each client's own list is checked where its form is read (`refresh_cookie.py`).
"""

from collections.abc import Awaitable, Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE_PATHS = frozenset({"/token", "/revoke"})
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Requested-With",
    "Access-Control-Max-Age": "600",
}
EXPOSED = {"Access-Control-Expose-Headers": "WWW-Authenticate, Retry-After, X-Request-ID"}


class CrossOriginMiddleware:
    """Plain ASGI. An answer says `*` never, and an origin only when that origin asked and is listed."""

    def __init__(
        self, app: ASGIApp, *, listed: Collection[str], cookie_origins: Callable[[], Awaitable[Collection[str]]]
    ) -> None:
        """`listed`: may read answers, without cookies; `cookie_origins`: asks for those of clients with a cookie."""
        self._app, self._listed, self._cookie_origins = app, frozenset(listed), cookie_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _origin(scope) if scope["type"] == "http" else None
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = await self._allowed(origin, scope["path"])
        asks_first = scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # An answer that speaks for itself is open to everybody, and is left as it is.
                if ALLOW_ORIGIN not in headers:
                    headers.add_vary_header("Origin")
                    headers.update(allowed)
            await send(message)

        if asks_first and allowed:
            await Response(status_code=204, headers=PREFLIGHT)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    async def _allowed(self, origin: str, path: str) -> dict[str, str]:
        if origin in await self._cookie_origins():
            with_cookies = {"Access-Control-Allow-Credentials": "true"} if path in COOKIE_PATHS else {}
            return {ALLOW_ORIGIN: origin, **EXPOSED, **with_cookies}
        return {ALLOW_ORIGIN: origin, **EXPOSED} if origin in self._listed else {}


def _origin(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)
