"""The table of routes refuses what it would skip, when it is made and not when a request comes."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, Header, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.background import BackgroundTasks
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from authmint_service.endpoints.route_table import RouteTable
from tests.service.asgi import ask


class Answer(BaseModel):
    """A response model."""

    text: str


class Logged(APIRoute):
    """A route class of its own, which could do anything around the endpoint."""


class Wrapper:
    """A middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app


async def plain(request: Request) -> Response:
    return PlainTextResponse(request.method)


def in_a_thread(request: Request) -> Response:
    return PlainTextResponse(request.method)


async def takes_nothing() -> Response:
    return PlainTextResponse("")


async def takes_a_query(request: Request, wait: Annotated[int, Query()] = 0) -> Response:
    return PlainTextResponse(str(wait))


async def takes_a_header(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    return PlainTextResponse(accept)


async def takes_a_cookie(request: Request, session: Annotated[str, Cookie()] = "") -> Response:
    return PlainTextResponse(session)


async def takes_a_body(request: Request, body: Annotated[dict[str, str], Body()]) -> Response:
    return PlainTextResponse(str(body))


async def takes_a_dependency(request: Request, value: Annotated[int, Depends(lambda: 1)]) -> Response:
    return PlainTextResponse(str(value))


async def takes_a_path(request: Request, name: str) -> Response:
    return PlainTextResponse(name)


async def takes_tasks(request: Request, tasks: BackgroundTasks) -> Response:
    return PlainTextResponse(str(tasks))


async def takes_a_response(request: Request, response: Response) -> Response:
    return response


async def takes_a_connection(connection: HTTPConnection) -> Response:
    return PlainTextResponse(str(connection))


async def returns_a_model(request: Request) -> Answer:
    return Answer(text=request.method)


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("not in the table", 404)(scope, receive, send)


def router_of(endpoint: Callable[..., Any] = plain, path: str = "/x", **options: Any) -> APIRouter:
    router = APIRouter()
    router.add_api_route(path, endpoint, methods=["POST"], **options)
    return router


def with_dependencies() -> APIRouter:
    router = APIRouter(dependencies=[Depends(plain)])
    router.add_api_route("/x", plain)
    return router


def with_middleware() -> APIRouter:
    router = router_of()
    router.middleware_stack = Wrapper(router.middleware_stack)  # type: ignore[assignment]  # any ASGI application can stand there
    return router


def of_its_own_class() -> APIRouter:
    router = APIRouter(route_class=Logged)
    router.add_api_route("/x", plain)
    return router


def with_another_app() -> APIRouter:
    router = router_of()
    (route,) = router.routes
    assert isinstance(route, APIRoute)
    route.app = Wrapper(route.app)  # type: ignore[assignment]  # any ASGI application can stand there
    return router


def with_route(route: Route | Mount) -> APIRouter:
    router = APIRouter()
    router.routes.append(route)
    return router


REFUSED: dict[str, tuple[Callable[[], APIRouter], str]] = {
    "dependencies of the router": (with_dependencies, "skip its dependencies"),
    "dependencies of the route": (lambda: router_of(dependencies=[Depends(plain)]), "skip its dependencies"),
    "a dependency of the endpoint": (lambda: router_of(takes_a_dependency), "skip its dependencies"),
    "a parameter in the path": (lambda: router_of(takes_a_path, "/x/{name}"), "skip its path parameters"),
    "a path with a parameter that is not read": (lambda: router_of(plain, "/x/{name}"), "skip its path parameters"),
    "a query parameter": (lambda: router_of(takes_a_query), "skip its parameters"),
    "a header": (lambda: router_of(takes_a_header), "skip its parameters"),
    "a cookie": (lambda: router_of(takes_a_cookie), "skip its parameters"),
    "a body": (lambda: router_of(takes_a_body), "skip its parameters"),
    "a response model": (lambda: router_of(response_model=Answer), "skip its response model"),
    "a response model by annotation": (lambda: router_of(returns_a_model), "skip its response model"),
    "an endpoint that is no coroutine": (lambda: router_of(in_a_thread), "no coroutine"),
    "an endpoint without a request": (lambda: router_of(takes_nothing), "beside the request"),
    "background tasks": (lambda: router_of(takes_tasks), "beside the request"),
    "a response to change": (lambda: router_of(takes_a_response), "beside the request"),
    "a connection": (lambda: router_of(takes_a_connection), "beside the request"),
    "a limit of the body": (lambda: router_of(max_body_size=10), "around its endpoint"),
    "something around the route": (with_another_app, "around its endpoint"),
    "middleware of the router": (with_middleware, "skip the middleware"),
    "a route class of its own": (of_its_own_class, "is a Logged"),
    "a route of Starlette": (lambda: with_route(Route("/x", plain)), "is a Route"),
    "a mounted application": (lambda: with_route(Mount("/x", nowhere)), "is a Mount"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_table_refuses_what_it_would_skip(case: str) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(ValueError, match=r"The route /x.* cannot be in the table") as raised:
        RouteTable(nowhere, routers=[router_of(path="/good"), make()])
    assert reason in str(raised.value)


def test_the_same_route_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="POST /x is in the table twice"):
        RouteTable(nowhere, routers=[router_of(), router_of()])


@pytest.mark.anyio
async def test_a_plain_route_is_served_and_all_others_go_on_to_the_application() -> None:
    table = RouteTable(nowhere, routers=[router_of()])
    served = await ask(table, "POST", "/x")
    assert (200, b"POST") == (served.status, served.body)
    assert [404, 404] == [(await ask(table, *other)).status for other in (("GET", "/x"), ("POST", "/x/"))]
