"""A service as its team would write it: every dependency, a router, a WebSocket, plain functions, a call to another service."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from authmint import Principal, ResourceServer, ServiceAuth

SECRET = "not-a-real-secret-0123456789012345"

auth = ResourceServer(
    issuer="https://auth.example.com",
    audience="orders",
    scopes={"orders:read": "Read orders", "orders:write": "Change orders"},
)
Caller = Annotated[Principal, auth.requires()]
Reader = Annotated[Principal, auth.requires("orders:read")]
User = Annotated[Principal, auth.user.requires()]
Job = Annotated[Principal, auth.service.requires("orders:write")]
Maybe = Annotated[Principal | None, auth.optional.requires()]


class TokenEndpoint(httpx2.AsyncBaseTransport):
    """A billing service and the issuer in one, as far as this test needs them."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        issuer = "https://auth.example.com"
        if request.url.path == "/.well-known/oauth-authorization-server":
            content = {"issuer": issuer, "jwks_uri": f"{issuer}/jwks", "token_endpoint": f"{issuer}/token"}
            return httpx2.Response(200, json=content)
        if request.url.path == "/token":
            return httpx2.Response(200, json={"access_token": "t", "token_type": "Bearer", "expires_in": 300})
        return httpx2.Response(200, json={"billed with": request.headers["authorization"]})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with (
        auth.lifespan(),
        httpx2.AsyncClient(
            transport=TokenEndpoint(),
            base_url="https://billing",
            auth=ServiceAuth(
                issuer="https://auth.example.com", client_id="orders", client_secret=SECRET,
                audience="billing", scopes=["billing:write"]),
        ) as billing,
    ):  # fmt: skip
        yield {"billing": billing}


app = FastAPI(lifespan=lifespan)
api = APIRouter(dependencies=[auth.requires()])


@api.get("/orders")
async def orders(who: Reader) -> str:
    return who.sub


@api.get("/closed")
async def closed() -> str:
    return "in"


@app.get("/caller")
def caller(who: Caller) -> dict[str, Any]:
    return {"sub": who.sub, "client_id": who.client_id, "scopes": sorted(who.scopes), "x": who.claims.get("x")}


@app.get("/user")
def user(who: User) -> str:
    return who.sub


@app.get("/job")
def job(who: Job) -> str:
    return who.sub


@app.get("/maybe")
def maybe(who: Maybe) -> str | None:
    return who.sub if who else None


@app.get("/bill")
async def bill(request: Request, who: Caller) -> Any:
    return (await request.state.billing.get("/invoices")).json()


@app.websocket("/live")
async def live(ws: WebSocket, who: Reader) -> None:
    await ws.accept()
    await ws.send_text(who.sub)
    await ws.close()


app.include_router(api)


@pytest.fixture
def authmint_auth() -> ResourceServer:
    return auth


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    # The issuer does not exist: the service starts all the same.
    with TestClient(app) as client:
        yield client


def test_orders(client: TestClient) -> None:
    with auth.testing() as tokens:
        assert client.get("/orders").status_code == 401
        assert client.get("/orders", headers=tokens.user("u1")).status_code == 403
        assert client.get("/orders", headers=tokens.user("u1", ["orders:read"])).json() == "u1"
        assert client.get("/orders", headers=tokens.user("u1", ["orders:read"], exp=1)).status_code == 401


def test_each_dependency_allows_its_subjects_alone(client: TestClient) -> None:
    with auth.testing() as tokens:
        person, service = tokens.user("u1", ["orders:write"], x=7), tokens.service("cron", ["orders:write"])
        assert client.get("/caller", headers=person).json() == {
            "sub": "u1", "client_id": "client-1", "scopes": ["orders:write"], "x": 7,
        }  # fmt: skip
        assert client.get("/user", headers=person).json() == "u1"
        assert client.get("/user", headers=service).status_code == 403
        assert client.get("/job", headers=service).json() == "cron"
        assert client.get("/job", headers=person).status_code == 403
        assert client.get("/job", headers=tokens.service("cron")).status_code == 403
        assert client.get("/maybe").json() is None
        assert client.get("/maybe", headers=person).json() == "u1"
        assert client.get("/maybe", headers=tokens.expired()).status_code == 401


def test_a_router_can_require_a_token_for_all_its_routes(client: TestClient) -> None:
    with auth.testing() as tokens:
        assert client.get("/closed").status_code == 401
        assert client.get("/closed", headers=tokens.user()).json() == "in"


def test_a_websocket_handshake_gets_a_real_401_or_403(client: TestClient) -> None:
    with auth.testing() as tokens:
        with client.websocket_connect("/live", headers=tokens.user("u1", ["orders:read"])) as socket:
            assert socket.receive_text() == "u1"
        for headers, status in (({}, 401), (tokens.user("u1"), 403)):
            with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/live", headers=headers):
                pass
            assert denied.value.status_code == status


def test_another_service_is_called_with_a_token_of_this_service(client: TestClient) -> None:
    with auth.testing() as tokens:
        assert client.get("/bill", headers=tokens.user()).json() == {"billed with": "Bearer t"}


@pytest.mark.parametrize(
    "dependency", [auth, auth.user, auth.service, auth.optional], ids=["any", "user", "service", "optional"]
)
def test_any_dependency_can_be_overridden_with_a_principal(client: TestClient, dependency: Any) -> None:
    paths = {id(auth): "/orders", id(auth.user): "/user", id(auth.service): "/job", id(auth.optional): "/maybe"}
    app.dependency_overrides[dependency] = lambda: Principal(
        sub="anyone", client_id="c", scopes=frozenset(), audience=("orders",), issuer="i", session_id=None, issued_at=0,
        expires_at=0, is_user=True, is_service=False, claims={},
    )  # fmt: skip
    app.dependency_overrides[auth] = app.dependency_overrides[dependency]
    try:
        assert client.get(paths[id(dependency)]).json() == "anyone"
    finally:
        app.dependency_overrides.clear()


def test_openapi_shows_the_scopes_of_each_operation_and_both_flows(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert [{"orders-auth.example.com": ["orders:read"]}] == document["paths"]["/orders"]["get"]["security"]
    assert [{"orders-auth.example.com": []}] == document["paths"]["/closed"]["get"]["security"]
    assert {"password", "clientCredentials"} == set(
        document["components"]["securitySchemes"]["orders-auth.example.com"]["flows"]
    )


def test_every_kind_of_token_is_a_fixture(
    client: TestClient, authmint_user_headers: dict[str, str], authmint_service_headers: dict[str, str],
    authmint_missing_scope_headers: dict[str, str],
    authmint_expired_headers: dict[str, str], authmint_wrong_audience_headers: dict[str, str],
    authmint_unknown_key_headers: dict[str, str],
    authmint_rotated_key_headers: dict[str, str],
) -> None:  # fmt: skip
    for headers, status in (
        (authmint_user_headers, 200), (authmint_service_headers, 200), (authmint_rotated_key_headers, 200),
        (authmint_missing_scope_headers, 403),
        (authmint_expired_headers, 401), (authmint_wrong_audience_headers, 401), (authmint_unknown_key_headers, 401),
    ):  # fmt: skip
        assert client.get("/orders", headers=headers).status_code == status
    assert client.get("/job", headers=authmint_service_headers).status_code == 200
    assert client.get("/user", headers=authmint_service_headers).status_code == 403


def test_outside_the_block_those_tokens_are_refused(client: TestClient) -> None:
    with auth.testing() as tokens:
        headers = tokens.user("u1", ["orders:read"])
    answer = client.get("/orders", headers=headers)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
