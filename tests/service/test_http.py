"""What holds for every response: a request id, no echo of the request; and which routes are public."""

import json
import re
from http import HTTPStatus

import pytest
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from authmint import BearerAuth
from authmint_service.endpoints.requests import RequestMiddleware
from authmint_service.metrics import Metrics
from authmint_service.trusted_proxies import TrustedProxies
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.routes import endpoints_of

pytestmark = pytest.mark.anyio

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
PUBLIC = {
    "/token", "/livez", "/readyz", "/key-history", "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/revoke", "/introspect",
    "/revocation-list",
    "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon-32x32.png",
}  # fmt: skip


async def test_every_route_is_listed_as_public_or_protected_by_the_dependency(service: Service) -> None:
    paths = {route.path: route for route in service.app.routes if isinstance(route, APIRoute)}
    paths |= {
        route.path: route
        for included in service.app.routes
        for route in getattr(getattr(included, "original_router", None), "routes", [])
        if isinstance(route, APIRoute)
    }
    protected = {
        path for path, route in paths.items() if any(isinstance(one.call, BearerAuth) for one in route.dependant.dependencies)
    }
    assert {
        "/account/v1", "/account/v1/sessions", "/account/v1/sessions/{session_id}", "/account/v1/password",
        "/account/v1/sessions/current", "/account/v1/sessions/revoke-others",
        "/admin/v1/accounts/{account_id}/sessions", "/admin/v1/accounts/{account_id}/sessions/{session_id}",
    } == protected  # fmt: skip
    assert set(paths) - protected <= PUBLIC
    assert paths


async def test_errors_outside_oauth_are_problem_documents_with_a_request_id_and_without_an_echo(service: Service) -> None:
    for method, path, status, code in (
        ("GET", "/nothing-here-canary", 404, "not_found"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
        ("GET", "/account/v1?access_token=canary", 401, "unauthorized"),
        ("GET", "/revocation-list?wait=canary", 422, "invalid_request"),
        ("GET", "/%00canary", 404, "not_found"),
        ("GET", "/docs/../canary", 404, "not_found"),
    ):
        response = await service.http.request(method, path)
        assert (status, "application/problem+json") == (response.status_code, response.headers["content-type"])
        problem = response.json()
        assert PROBLEM_MEMBERS == set(problem) - {"errors"}
        assert (422 == status) == ("errors" in problem)
        assert ("about:blank", HTTPStatus(status).phrase, status) == (problem["type"], problem["title"], problem["status"])
        assert (code, response.headers["x-request-id"]) == (problem["code"], problem["request_id"])
        assert problem["detail"]
        assert "canary" not in response.text


async def test_a_path_that_is_nearly_right_is_not_found_and_never_redirected(service: Service) -> None:
    endpoints = endpoints_of(service.app)
    assert endpoints
    for endpoint in endpoints:
        right = endpoint.filled()
        for path in (f"{right}/", f"/{right}", f"{right}//", right.upper()):
            response = await service.http.request(endpoint.method, path, headers={"Host": "evil.example"})
            assert (404, None) == (response.status_code, response.headers.get("location")), (endpoint, path)


async def test_a_405_lists_all_methods_of_the_path(service: Service) -> None:
    for path, methods in (
        ("/account/v1/sessions", "GET, HEAD"), ("/account/v1/sessions/current", "DELETE"),
        ("/livez", "GET, HEAD"), ("/token", "POST"), ("/account/v1/password", "PUT"),
        ("/admin/v1/accounts/00000000-0000-4000-8000-000000000000/sessions", "DELETE, GET, HEAD"),
    ):  # fmt: skip
        answer = await service.http.request("PATCH", path)
        assert (405, methods) == (answer.status_code, answer.headers["allow"])


async def test_a_token_is_read_from_the_authorization_header_alone(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    token = (await service.sign_in(client, user)).json()["access_token"]
    assert 401 == (await service.http.get(f"/account/v1?access_token={token}")).status_code
    assert 401 == (await service.http.get("/account/v1", headers={"Cookie": f"access_token={token}"})).status_code
    two = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert 400 == (await service.http.get("/account/v1", headers=two)).status_code


async def test_without_credentials_the_challenge_names_no_error_and_with_bad_ones_invalid_token(service: Service) -> None:
    without = await service.http.get("/account/v1")
    bad = await service.http.get("/account/v1", headers={"Authorization": "Bearer a.b.c"})
    assert 'Bearer realm="api"' == without.headers["www-authenticate"]
    assert bad.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


async def test_the_docs_load_nothing_from_elsewhere_and_have_no_inline_script(service: Service) -> None:
    page = await service.http.get("/docs")
    assert "//" not in page.text.replace("<!doctype", "")
    assert "<script>" not in page.text
    assert not re.search(r"style=|<style|\son\w+=", page.text)
    for name in ("start.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert 200 == (await service.http.get(f"/docs/{name}")).status_code


async def test_the_docs_are_not_served_in_production(start_service: StartService) -> None:
    """And they are where no setting switches them on, except in development."""
    service = await start_service(docs=None)
    for path in ("/docs", "/openapi.json", "/redoc", "/docs/start.js"):
        assert 404 == (await service.http.get(path)).status_code


async def test_openapi_describes_the_form_and_both_flows(service: Service) -> None:
    schema = (await service.http.get("/openapi.json")).json()
    body = schema["paths"]["/token"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
    assert {"$ref": "#/components/schemas/TokenRequest"} == body["schema"]
    form = schema["components"]["schemas"]["TokenRequest"]
    assert {"grant_type", "username", "password", "refresh_token", "scope", "resource", "client_id", "client_secret"} == set(
        form["properties"]
    )
    flows = schema["components"]["securitySchemes"]["Authmint"]["flows"]
    assert {"password", "clientCredentials"} == set(flows)
    assert {"https://auth.example/token"} == {flow["tokenUrl"] for flow in flows.values()}


OPERATIONS = {
    "POST /token": "issueToken",
    "POST /revoke": "revokeToken",
    "POST /introspect": "introspectToken",
    "GET /.well-known/oauth-authorization-server": "getServerMetadata",
    "GET /.well-known/jwks.json": "getJWKSet",
    "GET /key-history": "getKeyHistory",
    "GET /revocation-list": "getRevocationList",
    "GET /account/v1": "getMyAccount",
    "DELETE /account/v1/sessions/current": "revokeMyCurrentSession",
    "GET /account/v1/sessions": "listMySessions",
    "DELETE /account/v1/sessions/{session_id}": "revokeMySession",
    "POST /account/v1/sessions/revoke-others": "revokeMyOtherSessions",
    "PUT /account/v1/password": "changeMyPassword",
    "GET /admin/v1/accounts/{account_id}/sessions": "listAccountSessions",
    "DELETE /admin/v1/accounts/{account_id}/sessions": "revokeAccountSessions",
    "DELETE /admin/v1/accounts/{account_id}/sessions/{session_id}": "revokeAccountSession",
    "GET /livez": "getLiveness",
    "GET /readyz": "getReadiness",
}
SCHEMAS = {
    "TokenRequest", "RevocationRequest", "IntrospectionRequest", "PasswordChange", "OtherSessionsRevocation",
    "TokenResponse", "IntrospectionResponse", "RevocationResponse",
    "OAuthError", "ServerMetadata", "JWKSet", "KeyHistory", "KeyHistoryEntry",
    "Liveness", "Readiness", "ReadinessCheck", "MyAccount", "MySession", "MySessionPage", "ThisSession", "Session",
    "SessionPage", "Problem",
}  # fmt: skip


async def test_every_operation_has_an_id_of_its_own_and_a_tag(service: Service) -> None:
    document = (await service.http.get("/openapi.json")).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert OPERATIONS == {name: operation["operationId"] for name, operation in operations.items()}
    assert all(re.fullmatch(r"[a-z]+([A-Z][A-Za-z]*)+", operation_id) for operation_id in OPERATIONS.values())
    assert {"tokens", "metadata", "account", "admin", "health"} == {
        tag for operation in operations.values() for tag in operation["tags"]
    }
    assert ("Authmint token service", {"Authmint"}) == (
        document["info"]["title"], set(document["components"]["securitySchemes"]),
    )  # fmt: skip


async def test_every_body_in_openapi_is_a_component(service: Service) -> None:
    document = (await service.http.get("/openapi.json")).json()
    components = document["components"]["schemas"]
    assert SCHEMAS == set(components)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for schema in (content["schema"] for content in body.get("content", {}).values()):
                    one = schema.get("items", schema)
                    assert one == {"type": "string"} or set(one) == {"$ref"}, (path, one)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == SCHEMAS


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example", True), ("https://app.example.evil.example", False), ("https://evilapp.example", False),
        ("https://app.example:8443", False), ("http://app.example", False), ("null", False), ("https://APP.example", False),
        ("https://sub.app.example", False), ("*", False), ("https://app.example/", False),
    ],
)  # fmt: skip
async def test_only_listed_origins_may_read_answers(start_service: StartService, origin: str, *, is_allowed: bool) -> None:
    service = await start_service(cors_origins="https://app.example")
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for answer in (
        await service.http.get("/livez", headers={"Origin": origin}),
        await service.http.options("/token", headers=asked),
    ):
        assert is_allowed == (answer.headers.get("access-control-allow-origin") == origin)
        assert "access-control-allow-credentials" not in answer.headers


async def test_an_unexpected_error_is_a_500_that_says_nothing(service: Service) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError(f"secret {PASSWORD}")

    import httpx2

    metrics = Metrics()
    metrics.allocate(routes=(), grants=(), rows=1)
    transport = httpx2.ASGITransport(app=RequestMiddleware(broken, secure=False, metrics=metrics, proxies=TrustedProxies(())))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/x")
    assert (500, "server_error") == (answer.status_code, answer.json()["code"])
    assert ("application/problem+json", PROBLEM_MEMBERS) == (answer.headers["content-type"], set(answer.json()))
    assert PASSWORD not in answer.text


async def test_bodies_on_other_routes_have_no_effect(service: Service) -> None:
    for path in ("/account/v1", "/livez", "/.well-known/jwks.json"):
        answer = await service.http.request("GET", path, content=b"[" * 1_000_000)
        assert answer.status_code in {200, 401}
