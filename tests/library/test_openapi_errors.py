"""OpenAPI: the security schemes of resource servers; 401, 403 and 503 for each protected operation, and for no other."""

import asyncio
import importlib
import re
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from authmint import Issuer as Known
from authmint import Principal, ResourceServer
from tests.library.conftest import AUDIENCE, ISSUER, Issuer
from tests.library.web import web

pytestmark = pytest.mark.anyio

ERRORS = {"401", "403", "503"}
SCOPES = {"orders:read": "Read"}
OURS = "orders-auth.example"
"""The security scheme of the audience `orders` and the issuer `https://auth.example`."""
REFERENCE = {"$ref": "#/components/schemas/BearerAuthError"}


class Maintenance(BaseModel):
    reason: str


@pytest.fixture
def auth() -> ResourceServer:
    return ResourceServer(issuer=ISSUER, audience=AUDIENCE, scopes=SCOPES)


@pytest.fixture
def app(auth: ResourceServer) -> FastAPI:
    app = FastAPI()
    auth.document(app)

    @app.get("/parameter")
    async def parameter(caller: Annotated[Principal, auth.requires("orders:read")]) -> str:
        return caller.sub

    @app.delete("/dependency", dependencies=[auth.user.requires()])
    async def dependency() -> None: ...

    @app.post("/own", dependencies=[auth.requires()], responses={503: {"model": Maintenance, "description": "Maintenance."}})
    async def own() -> None: ...

    @app.get("/optional")
    async def optional(caller: Annotated[Principal | None, auth.optional.requires()]) -> str | None:
        return caller.sub if caller else None

    @app.get("/open")
    async def unprotected() -> None: ...

    router = APIRouter(prefix="/router", dependencies=[auth.requires()])

    @router.get("/route")
    async def route() -> None: ...

    app.include_router(router)
    return app


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method} {path}": one for path, methods in document["paths"].items() for method, one in methods.items()}


def test_each_protected_operation_declares_the_errors_and_no_other_does(app: FastAPI) -> None:
    found = operations(app.openapi())
    for name in ("get /parameter", "delete /dependency", "post /own", "get /optional", "get /router/route"):
        assert set(found[name]["responses"]) >= ERRORS, name
    assert ERRORS.isdisjoint(found["get /open"]["responses"])


def test_the_body_of_each_error_is_a_component_and_its_header_is_declared(app: FastAPI) -> None:
    document = app.openapi()
    responses = operations(document)["get /parameter"]["responses"]
    for status, header in (("401", "WWW-Authenticate"), ("403", "WWW-Authenticate"), ("503", "Retry-After")):
        assert REFERENCE == responses[status]["content"]["application/json"]["schema"]
        assert {header} == set(responses[status]["headers"])
        assert responses[status]["description"]
    assert ["detail"] == document["components"]["schemas"]["BearerAuthError"]["required"]
    OpenAPI.model_validate(document)


def test_the_declared_body_is_the_one_that_is_sent(app: FastAPI, auth: ResourceServer) -> None:
    client = TestClient(app)
    with auth.testing() as tokens:
        refused = [client.get("/parameter"), client.get("/parameter", headers=tokens.user())]
        outside = tokens.user(scopes=["orders:read"])
    refused.append(client.get("/parameter", headers=outside))
    assert [401, 403, 503] == [response.status_code for response in refused]
    assert [{"detail": str}] * 3 == [{name: type(value) for name, value in one.json().items()} for one in refused]
    assert [True, True, False] == ["www-authenticate" in one.headers for one in refused]
    assert "retry-after" in refused[2].headers


def test_a_response_that_a_route_declares_itself_stays(app: FastAPI) -> None:
    responses = operations(app.openapi())["post /own"]["responses"]
    assert {"$ref": "#/components/schemas/Maintenance"} == responses["503"]["content"]["application/json"]["schema"]
    assert "Maintenance." == responses["503"]["description"]
    assert REFERENCE == responses["401"]["content"]["application/json"]["schema"]


def test_the_document_is_the_same_each_time_and_is_the_one_that_is_served(app: FastAPI) -> None:
    first = app.openapi()
    assert first == app.openapi() == TestClient(app).get("/openapi.json").json()


def test_without_protected_operations_nothing_is_added(auth: ResourceServer) -> None:
    app, plain = FastAPI(), FastAPI()
    auth.document(app)
    assert plain.openapi() == app.openapi()


def test_two_resource_servers_have_a_security_scheme_each(auth: ResourceServer) -> None:
    partners = ResourceServer(issuer="https://partners.example", audience=AUDIENCE, scheme_name="Partners")
    app = FastAPI()
    for one in (auth, partners):
        one.document(app)

    @app.get("/ours", dependencies=[auth.requires("orders:read")])
    async def ours() -> None: ...

    @app.get("/theirs", dependencies=[partners.service.requires()])
    async def theirs() -> None: ...

    document = app.openapi()
    assert {OURS, "Partners"} == set(document["components"]["securitySchemes"])
    found = operations(document)
    assert [{OURS: ["orders:read"]}] == found["get /ours"]["security"]
    assert [{"Partners": []}] == found["get /theirs"]["security"]
    assert all(set(one["responses"]) >= ERRORS for one in found.values())
    OpenAPI.model_validate(document)


OTHERS: dict[str, dict[str, Any]] = {
    "another audience": {"issuer": ISSUER, "audience": "stock"},
    "another issuer": {"issuer": "https://partners.example/eu", "audience": AUDIENCE},
    "a URL as audience": {"issuer": ISSUER, "audience": "https://orders.example"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
def test_two_resource_servers_never_overwrite_each_other(auth: ResourceServer, other: dict[str, Any]) -> None:
    """Kind: of several of one application only one is shown. Here nothing is named, and nothing documented."""
    others = ResourceServer(**other, scopes={"other:read": "Read others"})
    app = FastAPI()

    @app.get("/ours", dependencies=[auth.requires("orders:read")])
    async def ours() -> None: ...

    @app.get("/theirs", dependencies=[others.requires("other:read")])
    async def theirs() -> None: ...

    document = app.openapi()
    schemes = document["components"]["securitySchemes"]
    found = operations(document)
    for operation, server, scopes in (("get /ours", auth, SCOPES), ("get /theirs", others, {"other:read": "Read others"})):
        ((name, required),) = found[operation]["security"][0].items()
        assert list(scopes) == required
        for flow in schemes[name]["flows"].values():
            assert (f"{server.issuers[0]}/token", scopes) == (flow["tokenUrl"], flow["scopes"])
    assert 2 == len(schemes)
    OpenAPI.model_validate(document)


@pytest.mark.parametrize("is_documented", [False, True])
async def test_each_of_several_issuers_is_shown_and_each_is_enough(is_documented: bool, issuer: Issuer) -> None:
    """The kind is the same."""
    urls = [ISSUER, "https://partners.example/eu", "https://partners.example/us"]
    auth = ResourceServer(issuers=[Known(url=url, jwks=issuer.jwks) for url in urls], audience=AUDIENCE, scopes=SCOPES)
    app = FastAPI()
    if is_documented:
        auth.document(app)

    @app.get("/orders")
    async def orders(caller: Annotated[Principal, auth.requires("orders:read")]) -> str:
        return caller.sub

    @app.get("/optional", dependencies=[auth.optional.requires()])
    async def optional() -> None: ...

    document = app.openapi()
    schemes = document["components"]["securitySchemes"]
    assert [f"{url}/token" for url in urls] == [one["flows"]["clientCredentials"]["tokenUrl"] for one in schemes.values()]
    assert all(SCOPES == one["flows"]["password"]["scopes"] for one in schemes.values())
    found = operations(document)
    # One of the list is enough (OpenAPI, "security").
    assert [{name: ["orders:read"]} for name in schemes] == found["get /orders"]["security"]
    assert [{name: []} for name in schemes] == found["get /optional"]["security"]
    assert [] == found["get /orders"].get("parameters", [])
    assert is_documented == (set(found["get /orders"]["responses"]) >= ERRORS)
    OpenAPI.model_validate(document)
    with auth.testing() as tokens:
        client = TestClient(app)
        assert [200, 401] == [client.get("/orders", headers=one).status_code for one in (tokens.user("u", SCOPES), {})]


async def test_the_metadata_of_each_issuer_brings_its_token_endpoint() -> None:
    """The kind is the same; `token_url` stands for the first issuer alone."""
    async with web() as first, web() as second:
        for site in (first, second):
            members = {"issuer": site.url, "jwks_uri": f"{site.url}/jwks", "token_endpoint": f"{site.url}/oauth/token"}
            site.json("/.well-known/oauth-authorization-server", members)
            site.json("/jwks", Issuer().jwks)
        both = [Known(url=first.url), Known(url=second.url)]
        for token_url, expected in ((None, f"{first.url}/oauth/token"), ("/login", "/login")):
            auth = ResourceServer(issuers=both, audience=AUDIENCE, token_url=token_url)
            app = FastAPI()
            app.get("/orders", dependencies=[auth.requires()])(lambda: None)
            async with auth.lifespan():
                while auth.problems():
                    await asyncio.sleep(0.01)
            schemes = app.openapi()["components"]["securitySchemes"].values()
            assert [expected, f"{second.url}/oauth/token"] == [one["flows"]["password"]["tokenUrl"] for one in schemes]


@pytest.mark.parametrize(
    ("module", "ids"),
    [
        ("orders.app", {"listOrders", "createOrder", "getLiveness", "getReadiness"}),
        ("billing.app", {"createInvoice", "getLiveness"}),
    ],
)
def test_the_examples_declare_the_errors_and_name_their_operations(module: str, ids: set[str]) -> None:
    document = importlib.import_module(module).create_app().openapi()
    found = operations(document)
    assert ids == {one["operationId"] for one in found.values()}
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", name) for name in ids)
    for name, operation in found.items():
        assert ("security" in operation) == (name not in {"get /livez", "get /readyz"}), name
        assert ("security" in operation) == (set(operation["responses"]) >= ERRORS), name
        for status in operation["responses"].keys() - {"204"}:
            assert "$ref" in str(operation["responses"][status]["content"]["application/json"]["schema"]), (name, status)
    OpenAPI.model_validate(document)
