"""The dependency for applications without FastAPI: plain ASGI, for Starlette and others, HTTP and WebSocket alike."""

from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from authmint.bearer_auth import BearerAuth
from authmint.challenge import Refusal


class ResourceServerMiddleware:
    """Lets requests through a door. The application finds the caller in `scope["state"]["principal"]` (`request.state`)."""

    def __init__(self, app: ASGIApp, *, door: BearerAuth, scopes: Collection[str] = ()) -> None:
        """`door`: a ResourceServer, or its `user`, `machine` or `optional`; `scopes`: what every request needs."""
        self._app, self._door, self._scopes = app, door, frozenset(scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._door.admit(scope, self._scopes)
        except Refusal as refusal:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(answer)
            else:
                await answer(scope, receive, send)
            return
        # Each connection has its own shallow copy of the lifespan's state (ASGI, "Lifespan State").
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)
