"""A table that finds an endpoint by method and path, without FastAPI's routing.

FastAPI tries route after route and then prepares dependencies, which these endpoints have not: for `POST /token` that would be
half of the work. The endpoints stay routes of the application, for OpenAPI and for requests with another method. The table
refuses a route with anything that FastAPI would do before or after the endpoint, and the table does not.
"""

import inspect
from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from fastapi.routing import APIRoute, request_response
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class RouteTable:
    """The innermost middleware. Plain ASGI."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        """`routers`: all paths are fixed; each endpoint takes a request alone, and responds to its own errors.

        Raise ValueError, which names the route and what the table would skip of it.
        """
        self._app = app
        self._routes: dict[tuple[str, str], APIRoute] = {}
        for router in routers:
            for route in router.routes:
                self._add(router, route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    def _add(self, router: APIRouter, route: BaseRoute) -> None:
        path = getattr(route, "path", "")
        if type(route) is not APIRoute:
            raise ValueError(f"The route {path or route} cannot be in the table: it is a {type(route).__name__}.")
        for skipped in _skipped(router, route):
            raise ValueError(f"The route {path} cannot be in the table, which would skip {skipped}.")
        for method in route.methods or ():
            if (method, path) in self._routes:
                raise ValueError(f"The route {method} {path} is in the table twice.")
            self._routes[method, path] = route


def _skipped(router: APIRouter, route: APIRoute) -> Iterator[str]:
    """Yield what FastAPI does for a route and the table does not."""
    declared = route.dependant
    if router.middleware_stack != router.app:
        yield "the middleware of its router"
    if router.dependencies or route.dependencies or declared.dependencies:
        yield "its dependencies"
    if "{" in route.path or declared.path_params:
        yield "its path parameters"
    if declared.query_params or declared.header_params or declared.cookie_params or declared.body_params:
        yield "its parameters"
    if not inspect.iscoroutinefunction(route.endpoint):
        yield "the thread of an endpoint that is no coroutine"
    parameters = [*inspect.signature(route.endpoint).parameters]
    if len(parameters) != 1 or parameters != [declared.request_param_name]:
        yield "what its endpoint takes beside the request"
    if route.response_field is not None:
        yield "its response model"
    if getattr(route.app, "__code__", None) is not request_response(route.endpoint).__code__:
        yield "what is around its endpoint"
