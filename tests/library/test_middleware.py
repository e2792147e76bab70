"""The middleware in front of an application: what it lets through, and who says what a refusal looks like."""

from collections.abc import Callable
from typing import Any

import fastapi
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp

from authmint import BearerAuthError, ResourceServer, ResourceServerMiddleware
from tests.library.conftest import AUDIENCE, ISSUER

PAGE = "https://shop.example"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
Place = Callable[[FastAPI, ResourceServer], ASGIApp]


def around(app: FastAPI, auth: ResourceServer) -> ASGIApp:
    return ResourceServerMiddleware(app, auth=auth, scopes=["orders:read"], open_paths=["/livez"])


def within(app: FastAPI, auth: ResourceServer) -> ASGIApp:
    app.add_middleware(ResourceServerMiddleware, auth=auth, scopes=["orders:read"], open_paths=["/livez"])
    return app


def mounted(app: FastAPI, auth: ResourceServer) -> ASGIApp:
    return Starlette(
        routes=[Mount("/", around(app, auth))], exception_handlers={HTTPException: lambda *_: Response(status_code=418)}
    )


@pytest.fixture
def auth() -> ResourceServer:
    return ResourceServer(issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()

    @app.get("/orders")
    @app.get("/livez")
    async def caller(request: Request) -> str | None:
        return request.state.principal.sub if request.state.principal else None

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    return app


PLACES = pytest.mark.parametrize("place", [around, within, mounted])


@PLACES
@pytest.mark.parametrize("kind", [fastapi.HTTPException, HTTPException, BearerAuthError, 401])
def test_a_refusal_goes_to_the_handler_of_the_application(app: FastAPI, auth: ResourceServer, place: Place, kind: Any) -> None:
    """Kind: an error of ours that an application's own handlers do not see, so that it looks like no other error of it."""

    @app.exception_handler(kind)
    async def respond(request: Request, error: HTTPException) -> JSONResponse:
        assert isinstance(error, BearerAuthError)
        content = {"title": error.detail, "code": error.error, "path": request.url.path, "app": request.app is app}
        return JSONResponse(content, error.status_code, error.headers)

    with TestClient(place(app, auth)) as client:
        refused = client.get("/orders", headers={"Authorization": "Bearer x"})
        assert (401, "invalid_token", "/orders", True) == (
            refused.status_code, refused.json()["code"], refused.json()["path"], refused.json()["app"],
        )  # fmt: skip
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/live"):
            pass
        assert (401, None) == (denied.value.status_code, denied.value.json()["code"])


@PLACES
def test_without_a_handler_a_refusal_is_as_that_of_the_dependency(app: FastAPI, auth: ResourceServer, place: Place) -> None:
    plain = FastAPI(dependencies=[auth.requires("orders:read")])
    plain.get("/orders")(lambda: None)
    expected = TestClient(plain).get("/orders")
    refused = TestClient(place(app, auth)).get("/orders")
    for name in ("www-authenticate", "cache-control", "content-type"):
        assert expected.headers[name] == refused.headers[name]
    assert (401, expected.json()) == (refused.status_code, refused.json())


def test_an_application_of_another_framework_gets_the_same_response(auth: ResourceServer) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    refused = TestClient(ResourceServerMiddleware(application, auth=auth)).get("/")
    assert (401, {"detail": "An access token is required."}) == (refused.status_code, refused.json())


@PLACES
def test_a_preflight_needs_no_token_and_is_the_only_such_request(app: FastAPI, auth: ResourceServer, place: Place) -> None:
    """Kind: a check that stands before CORS, and refuses what a browser asks without a token (Fetch, section 3.3)."""
    app.add_middleware(CORSMiddleware, allow_origins=[PAGE], allow_headers=["Authorization"])
    with TestClient(place(app, auth)) as client, auth.testing() as tokens:
        allowed = client.options("/orders", headers=PREFLIGHT)
        assert (200, PAGE) == (allowed.status_code, allowed.headers["access-control-allow-origin"])
        assert 400 == client.options("/orders", headers=PREFLIGHT | {"Origin": "https://other.example"}).status_code
        for name in ("Origin", "Access-Control-Request-Method"):
            less = {key: value for key, value in PREFLIGHT.items() if key != name}
            assert 401 == client.options("/orders", headers=less).status_code, name
        for method in ("GET", "POST", "HEAD", "PUT"):
            assert 401 == client.request(method, "/orders", headers=PREFLIGHT).status_code, method
        answer = client.get("/orders", headers=tokens.user("u1", ["orders:read"]) | {"Origin": PAGE})
        assert (200, "u1", PAGE) == (answer.status_code, answer.json(), answer.headers["access-control-allow-origin"])


def test_cors_that_is_added_after_the_middleware_shows_a_refusal_to_the_page(app: FastAPI, auth: ResourceServer) -> None:
    within(app, auth)
    app.add_middleware(CORSMiddleware, allow_origins=[PAGE])
    refused = TestClient(app).get("/orders", headers={"Origin": PAGE})
    assert (401, PAGE) == (refused.status_code, refused.headers["access-control-allow-origin"])


@PLACES
def test_an_open_path_needs_no_token_and_opens_no_other(app: FastAPI, auth: ResourceServer, place: Place) -> None:
    """Kind: a check that is for every request, where probes have no token."""
    with TestClient(place(app, auth)) as client:
        for headers in ({}, {"Authorization": "Bearer x"}):
            answer = client.get("/livez", headers=headers)
            assert (200, None) == (answer.status_code, answer.json())
        for path in (
            "/orders",
            "/livez/",
            "//livez",
            "/livez/../orders",
            "/livez%2f..%2forders",
            "/LIVEZ",
            "/livez;/orders",
            "/x?/livez",
        ):
            assert 401 == client.get(path).status_code, path
        for path in ("/%6civez", "/livez?x=1"):
            assert 200 == client.get(path).status_code, path


def test_an_open_path_is_one_of_the_application_wherever_that_is_mounted(app: FastAPI, auth: ResourceServer) -> None:
    outer = Starlette(routes=[Mount("/v1", around(app, auth)), Route("/livez", lambda _: PlainTextResponse("outer"))])
    client = TestClient(outer)
    assert [200, 401, 200] == [client.get(path).status_code for path in ("/v1/livez", "/v1/orders", "/livez")]
    behind = TestClient(around(app, auth), root_path="/api")
    assert [200, 401] == [behind.get(path).status_code for path in ("/api/livez", "/api/orders")]
