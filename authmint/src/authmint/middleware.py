"""The bearer-token dependency as plain ASGI middleware, for Starlette and others, HTTP and WebSocket alike."""

from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from authmint.bearer_auth import BearerAuth
from authmint.challenge import BearerAuthError


class ResourceServerMiddleware:
    """Authenticates each request. The application finds the caller in `scope["state"]["principal"]` (`request.state`)."""

    def __init__(self, app: ASGIApp, *, auth: BearerAuth, scopes: Collection[str] = ()) -> None:
        """`auth`: a ResourceServer, or its `user`, `service` or `optional`; `scopes`: required for every request."""
        self._app, self._auth, self._scopes = app, auth, frozenset(scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._auth.authenticate(scope, self._scopes)
        except BearerAuthError as error:
            response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)
            return
        # Each connection has its own shallow copy of the lifespan's state (ASGI, "Lifespan State").
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)
