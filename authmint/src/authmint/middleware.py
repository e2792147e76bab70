"""The bearer-token dependency as plain ASGI middleware, for Starlette and others, HTTP and WebSocket alike."""

from collections.abc import Collection

from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from authmint.bearer_auth import BearerAuth
from authmint.challenge import BearerAuthError
from authmint.errors import ConfigurationError
from authmint.scopes import check_scopes


class ResourceServerMiddleware:
    """Authenticates each request. The application finds the caller in `scope["state"]["principal"]` (`request.state`).

    A refusal is a BearerAuthError, which goes to the application's own handler of that or of HTTPException, if it has one.
    """

    def __init__(
        self, app: ASGIApp, *, auth: BearerAuth, scopes: Collection[str] = (), open_paths: Collection[str] = ()
    ) -> None:
        """Raise ConfigurationError for settings that cannot work.

        `auth`: a ResourceServer, or its `user`, `service` or `optional`.
        `scopes`: required for every request.
        `open_paths`: paths that need no token, such as `/livez`, equal to the character. There the principal is None.
        """
        if not isinstance(auth, BearerAuth):
            raise ConfigurationError("auth must be a ResourceServer, or its user, service or optional.")
        if isinstance(open_paths, str) or not all(path.startswith("/") for path in open_paths):
            raise ConfigurationError("open_paths must be a list of paths that begin with a slash.")
        self._app, self._auth, self._scopes, self._open = app, auth, check_scopes(scopes), frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            is_open = scope["path"].removeprefix(scope.get("root_path", "")) in self._open or _is_preflight(scope)
            principal = None if is_open else await self._auth.authenticate(scope, self._scopes)
        except BearerAuthError as error:
            await self._refuse(error, scope, receive, send)
            return
        # Each connection has its own shallow copy of the lifespan's state (ASGI, "Lifespan State").
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    async def _refuse(self, error: BearerAuthError, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond as the application that this middleware is around, or in, responds to an HTTPException of its own."""

        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        app = self._app if hasattr(self._app, "exception_handlers") else scope.get("app")
        handlers = {HTTPException: http_exception_handler, **getattr(app, "exception_handlers", {})}
        await ExceptionMiddleware(fail, handlers)({**scope, "app": app}, receive, send)


def _is_preflight(scope: Scope) -> bool:
    """Return whether a browser asks what it may send (CORS): never with a token, and what it is told is no secret."""
    names = {name for name, _ in scope["headers"]} if scope.get("method") == "OPTIONS" else ()
    return b"origin" in names and b"access-control-request-method" in names
