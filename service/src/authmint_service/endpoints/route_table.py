"""A table that finds an endpoint by method and path, without FastAPI's routing.

FastAPI tries route after route and then prepares dependencies, which these endpoints have not: for `POST /token` that would be
half of the work. The endpoints stay routes of the application, for OpenAPI and for requests with another method.
"""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class RouteTable:
    """The innermost middleware. Plain ASGI."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        """`routers`: all paths are fixed; each endpoint takes a request alone, and responds to its own errors."""
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
