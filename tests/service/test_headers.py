"""A snapshot of the headers of every route: what a browser may do with a response, and which cache may store it."""

import httpx2
import pytest

from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.routes import Endpoint, endpoints_of
from tests.service.test_outages import NO_DATABASE

pytestmark = pytest.mark.anyio

STRICT = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=63072000",
    "cache-control": "no-store",
}
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' https://auth.example; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KEYS = {"cache-control": "public, max-age=300, stale-while-revalidate=60"}
ASSET = {"cache-control": "public, max-age=3600"}
EXCEPTIONS: dict[str, dict[str, str]] = {
    "GET /docs": {"content-security-policy": DOCS_POLICY},
    "GET /docs/swagger-ui-bundle.js": ASSET,
    "GET /docs/swagger-ui.css": ASSET,
    "GET /docs/favicon-32x32.png": ASSET,
    "GET /.well-known/jwks.json": KEYS,
    "GET /.well-known/oauth-authorization-server": KEYS,
    "GET /.well-known/openid-configuration": KEYS,
    "GET /key-history": KEYS,
    "GET /revocation-list": {"cache-control": "no-store"},
}
"""The only endpoints whose responses differ from STRICT, and how."""


def security_headers(answer: httpx2.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in STRICT if name in answer.headers}


async def test_every_response_has_the_headers_of_this_snapshot(service: Service) -> None:
    endpoints = endpoints_of(service.app)
    assert set(EXCEPTIONS) <= {str(endpoint) for endpoint in endpoints}
    for endpoint in [*endpoints, Endpoint("GET", "/nothing"), Endpoint("PATCH", "/token"), Endpoint("OPTIONS", "/token")]:
        response = await service.http.request(endpoint.method, endpoint.filled())
        assert STRICT | EXCEPTIONS.get(str(endpoint), {}) == security_headers(response), str(endpoint)
        assert not {"server", "x-powered-by"} & set(response.headers), str(endpoint)


async def test_only_an_issuer_with_tls_requires_https_of_browsers(start_service: StartService) -> None:
    plain = await start_service(issuer="http://127.0.0.1:8000")
    for endpoint in endpoints_of(plain.app):
        response = await plain.http.request(endpoint.method, endpoint.filled())
        assert "strict-transport-security" not in response.headers, str(endpoint)


async def test_a_response_about_a_token_a_password_or_a_user_is_stored_by_no_cache(service: Service, secret: str) -> None:
    user, spa, robot = await service.add_account(), await service.add_client(), await service.add_client(secret)
    signed_in = await service.sign_in(spa, user)
    tokens = signed_in.json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    as_robot = {"client_id": robot.client_id, "client_secret": secret}
    passwords = {"current_password": "another one of mine", "new_password": PASSWORD}
    answers = [
        signed_in,
        await service.refresh(spa, tokens["refresh_token"]),
        await service.token(grant_type="client_credentials", **as_robot),
        await service.sign_in(spa, user, "wrong"),
        await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret="wrong"),
        await service.http.post("/introspect", data={"token": tokens["access_token"], **as_robot}),
        await service.http.post("/introspect", data=as_robot),
        await service.http.post("/introspect", data={"token": "x", "client_id": spa.client_id}),
        await service.http.post("/revoke", data={"client_id": spa.client_id}),
        await service.http.post("/revoke", data={"token": "x", "client_id": "nobody"}),
        await service.http.get("/account/v1", headers=bearer),
        await service.http.get("/account/v1/sessions", headers=bearer),
        await service.http.put("/account/v1/password", data=passwords, headers=bearer),
        await service.http.delete("/account/v1/sessions/not-an-id", headers=bearer),
        await service.http.post("/revoke", data={"token": tokens["refresh_token"], "client_id": spa.client_id}),
    ]
    statuses = [200, 200, 200, 400, 401, 200, 400, 401, 400, 401, 200, 200, 403, 422, 200]
    assert statuses == [answer.status_code for answer in answers]
    for answer in answers:
        assert STRICT == security_headers(answer)


async def test_nor_is_a_response_of_a_service_without_a_database(start_service: StartService) -> None:
    service = await start_service(at=NO_DATABASE)
    forms = [Endpoint("POST", path) for path in ("/token", "/revoke", "/introspect")]
    for endpoint in [*forms, Endpoint("GET", "/.well-known/jwks.json"), Endpoint("GET", "/revocation-list")]:
        response = await service.http.request(endpoint.method, endpoint.path, data={"token": "x", "client_id": "someone"})
        assert 503 == response.status_code, str(endpoint)
        assert STRICT == security_headers(response), str(endpoint)
