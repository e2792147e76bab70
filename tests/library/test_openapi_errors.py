"""`auth.document(app)`: OpenAPI declares 401, 403 and 503 for each protected operation, and for no other."""

import importlib
import re
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from authmint import Principal, ResourceServer
from tests.library.conftest import AUDIENCE, ISSUER

ERRORS = {"401", "403", "503"}
REFERENCE = {"$ref": "#/components/schemas/BearerAuthError"}


class Maintenance(BaseModel):
    reason: str


@pytest.fixture
def auth() -> ResourceServer:
    return ResourceServer(issuer=ISSUER, audience=AUDIENCE, scopes={"orders:read": "Read"})


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
    assert {"Authmint", "Partners"} == set(document["components"]["securitySchemes"])
    found = operations(document)
    assert [{"Authmint": ["orders:read"]}] == found["get /ours"]["security"]
    assert [{"Partners": []}] == found["get /theirs"]["security"]
    assert all(set(one["responses"]) >= ERRORS for one in found.values())
    OpenAPI.model_validate(document)


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
