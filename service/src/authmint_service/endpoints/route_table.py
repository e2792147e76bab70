"""The short way to the endpoints that take a request and give a response: one look into a table.

FastAPI tries route after route, and then prepares for dependencies that these have not; for a token that would be half of the
work. They stay routes of the application: in OpenAPI, and for whoever asks with another method.
"""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class RouteTable:
    """The innermost middleware. Plain ASGI."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        """`routers`: all their paths are fixed; their endpoints take a request alone, and answer what they raise themselves."""
        self._app = app
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
