"""The dependency in a FastAPI application: which callers it allows, and what it responds to the others."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.testclient import TestClient

import authmint
from authmint import ConfigurationError, Principal, ResourceServer
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = pytest.mark.anyio

SCOPES = {"orders:read": "Read", "orders:write": "Write"}
PUBLIC_NAMES = {
    "AccessTokenClaims", "BearerAuth", "BearerAuthError", "ConfigurationError", "InsufficientScope", "InvalidClient",
    "InvalidGrant", "InvalidRequest", "InvalidScope", "InvalidTarget", "InvalidToken", "Issuer", "IssuerUnavailable", "KeySet",
    "OAuthError", "Observer", "Principal", "RemoteKeySet", "ResourceServer", "ResourceServerMiddleware", "ServiceAuth",
    "ServiceAuthError", "StaticKeySet", "TemporarilyUnavailable", "UnauthorizedClient", "UnsupportedGrantType",
    "VerificationEvent",
}  # fmt: skip
"""They are a promise: to take one away is a breaking change."""


@pytest.fixture
def auth(issuer: Issuer) -> ResourceServer:
    return ResourceServer(issuer=ISSUER, audience=AUDIENCE, scopes=SCOPES, jwks=issuer.jwks, clock=lambda: NOW)


@pytest.fixture
def app(auth: ResourceServer) -> FastAPI:
    app = FastAPI()

    @app.get("/any")
    async def anyone(who: Annotated[Principal, auth.requires()]) -> str:
        return who.sub

    @app.get("/read")
    async def read(who: Annotated[Principal, auth.requires("orders:read")]) -> str:
        return who.sub

    @app.get("/both")
    async def both(who: Annotated[Principal, auth.requires("orders:read", "orders:write")]) -> str:
        return who.sub

    @app.get("/user")
    async def user(who: Annotated[Principal, auth.user.requires()]) -> str:
        return who.sub

    @app.get("/service")
    async def service(who: Annotated[Principal, auth.service.requires()]) -> str:
        return who.sub

    @app.get("/optional")
    async def optional(who: Annotated[Principal | None, auth.optional.requires()]) -> str:
        return "no caller" if who is None else who.sub

    router = APIRouter(dependencies=[auth.requires("orders:write")])

    @router.get("/routed")
    async def routed() -> str:
        return "in"

    app.include_router(router)

    @app.websocket("/ws")
    async def websocket(socket: WebSocket, who: Annotated[Principal, auth.requires("orders:read")]) -> None:
        await socket.accept()
        await socket.send_text(who.sub)
        await socket.close()

    return app


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://orders.example") as http:
        yield http


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("path", "scope", "profile", "status"),
    [
        ("/any", "", "user", 200), ("/any", "", "service", 200), ("/read", "orders:read", "user", 200),
        ("/read", "", "user", 403), ("/read", "orders:write", "user", 403), ("/both", "orders:read", "user", 403),
        ("/both", "orders:write orders:read x", "user", 200), ("/user", "", "user", 200), ("/user", "", "service", 403),
        ("/service", "", "service", 200), ("/service", "", "user", 403), ("/optional", "", "user", 200),
        ("/routed", "orders:write", "user", 200), ("/routed", "orders:read", "user", 403), ("/any", "", "other", 200),
        ("/user", "", "other", 403), ("/service", "", "other", 403),
    ],
)  # fmt: skip
async def test_each_route_allows_its_subjects_and_scopes_alone(
    app: FastAPI, issuer: Issuer, path: str, scope: str, profile: str, status: int
) -> None:
    async with client_of(app) as http:
        answer = await http.get(path, headers=bearer(issuer.token(scope=scope, sub_profile=profile)))
    assert status == answer.status_code
    if status == 403:
        assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope"')


async def test_a_missing_scope_is_named_in_the_challenge(app: FastAPI, issuer: Issuer) -> None:
    async with client_of(app) as http:
        answer = await http.get("/both", headers=bearer(issuer.token(scope="")))
    assert 'scope="orders:read orders:write"' in answer.headers["www-authenticate"]


async def test_without_a_token_the_challenge_has_no_error_and_the_optional_dependency_allows_the_request(app: FastAPI) -> None:
    async with client_of(app) as http:
        for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "bearer-token x"}):
            answer = await http.get("/read", headers=headers)
            assert 401 == answer.status_code
            assert "error" not in answer.headers["www-authenticate"]
            assert '"no caller"' == (await http.get("/optional", headers=headers)).text


async def test_no_challenge_is_a_scheme_alone(app: FastAPI, issuer: Issuer) -> None:
    """Kind: a form that the standard does not allow: a parameter at least follows `Bearer` (RFC 6750, section 3)."""
    seen = set()
    async with client_of(app) as http:
        for path in ("/any", "/read", "/both", "/user", "/service", "/optional", "/routed"):
            for headers in ({}, bearer("a.b.c"), bearer(issuer.token(scope="", sub_profile="other"))):
                answer = await http.get(path, headers=headers)
                if answer.status_code in {401, 403}:
                    seen.add(answer.headers["www-authenticate"])
    assert 'Bearer realm="api"' in seen
    assert [] == [one for one in seen if not re.fullmatch(r'Bearer \w+="[^"]+"(, \w+="[^"]+")*', one)]


async def test_a_bad_token_is_refused_by_the_optional_dependency_too(app: FastAPI) -> None:
    async with client_of(app) as http:
        assert 401 == (await http.get("/optional", headers=bearer("a.b.c"))).status_code


async def test_every_bad_token_gets_the_same_response(app: FastAPI, issuer: Issuer) -> None:
    tokens = [
        "", "x", "a.b.c", issuer.token(exp=NOW - 100), issuer.token(aud="x"), Issuer().token(), issuer.token()[:-2], "é",
        "a" * 9000,
    ]  # fmt: skip
    async with client_of(app) as http:
        answers = [await http.get("/any", headers=[(b"authorization", b"Bearer " + token.encode("utf-8"))]) for token in tokens]
    assert {401} == {answer.status_code for answer in answers}
    assert 1 == len({answer.text for answer in answers})
    assert 1 == len({answer.headers["www-authenticate"] for answer in answers})


async def test_a_token_elsewhere_than_in_the_header_is_not_read(app: FastAPI, issuer: Issuer) -> None:
    token = issuer.token()
    async with client_of(app) as http:
        assert 401 == (await http.get(f"/any?access_token={token}")).status_code
        assert 401 == (await http.get("/any", headers={"Cookie": f"access_token={token}"})).status_code
        assert 400 == (await http.get("/any", headers=[*bearer(token).items(), *bearer(token).items()])).status_code


async def test_without_keys_the_response_is_503_with_retry_after(issuer: Issuer) -> None:
    auth = ResourceServer(issuer="http://127.0.0.1:1", audience=AUDIENCE, clock=lambda: NOW)
    app = FastAPI()

    @app.get("/any")
    async def anyone(who: Annotated[Principal, auth.requires()]) -> str:
        return who.sub

    async with client_of(app) as http:
        answer = await http.get("/any", headers=bearer(issuer.token(iss="http://127.0.0.1:1")))
    assert 503 == answer.status_code
    assert int(answer.headers["retry-after"]) > 0
    assert "www-authenticate" not in answer.headers


def test_a_websocket_is_refused_before_it_is_accepted(app: FastAPI, issuer: Issuer) -> None:
    from starlette.testclient import WebSocketDenialResponse

    with TestClient(app) as client:
        with client.websocket_connect("/ws", headers=bearer(issuer.token())) as socket:
            assert "6f1c" == socket.receive_text()
        for headers, status in (({}, 401), (bearer("x"), 401), (bearer(issuer.token(scope="")), 403)):
            with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws", headers=headers):
                pass
            assert status == refused.value.status_code


async def test_a_test_can_override_the_dependency_with_a_principal(app: FastAPI, auth: ResourceServer, issuer: Issuer) -> None:
    who = await auth.verify(issuer.token(sub="6f1d"))
    app.dependency_overrides[auth] = lambda: who
    async with client_of(app) as http:
        assert '"6f1d"' == (await http.get("/read")).text


async def test_openapi_shows_the_scopes_of_each_route_and_both_flows(app: FastAPI) -> None:
    schema = app.openapi()
    flows = schema["components"]["securitySchemes"]["orders-auth.example"]["flows"]
    assert {"password", "clientCredentials"} == set(flows)
    assert SCOPES == flows["password"]["scopes"]
    assert f"{ISSUER}/token" == flows["password"]["tokenUrl"]
    assert [{"orders-auth.example": ["orders:read", "orders:write"]}] == schema["paths"]["/both"]["get"]["security"]


def test_settings_that_contradict_each_other_are_refused_at_the_start(issuer: Issuer) -> None:
    good = {"issuer": ISSUER, "audience": AUDIENCE}
    wrong: list[dict[str, Any]] = [
        {"jwks": issuer.jwks, "jwks_file": "x"}, {"issuer": "auth.example"}, {"audience": ""}, {"leeway": -1}, {"leeway": 301},
        {"jwks_file": "nowhere.json"}, {"jwks": {}}, {"scopes": {"a b": "x"}},
        {"audience": []}, {"audience": ["orders", ""]}, {"scheme_name": ""}, {"scheme_name": "two words"},
    ]  # fmt: skip
    for bad in wrong:
        with pytest.raises(ConfigurationError):
            ResourceServer(**(good | bad))
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, scopes=SCOPES)
    for scope in ("orders:raed", "a b", ""):
        with pytest.raises(ConfigurationError):
            auth.requires(scope)


async def test_a_principal_cannot_be_changed(auth: ResourceServer, issuer: Issuer) -> None:
    who = await auth.verify(issuer.token())
    with pytest.raises(TypeError):
        who.claims["sub"] = "other"  # type: ignore[index]  # that it is refused is the point
    with pytest.raises(AttributeError):
        who.sub = "other"  # type: ignore[misc]  # wrong on purpose: it must be refused
    assert ("6f1c", "spa", frozenset({"orders:read"}), "s", True, False) == (
        who.sub, who.client_id, who.scopes, who.session_id, who.is_user, who.is_service,
    )  # fmt: skip


async def test_the_dependency_works_in_depends_too(auth: ResourceServer, issuer: Issuer) -> None:
    app = FastAPI()

    @app.get("/me")
    async def me(who: Annotated[Principal, Depends(auth)]) -> str:
        return who.sub

    async with client_of(app) as http:
        assert (200, '"6f1c"') == ((answer := await http.get("/me", headers=bearer(issuer.token()))).status_code, answer.text)


def test_the_public_names_exist_and_are_sorted() -> None:
    assert sorted(authmint.__all__) == authmint.__all__
    assert PUBLIC_NAMES == set(authmint.__all__)
    # They are imported when they are first used, so `vars` has only some of them.
    imported = {
        name for name, value in vars(authmint).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert imported - {"TYPE_CHECKING", "import_module"} <= PUBLIC_NAMES == set(dir(authmint))
    assert all(getattr(authmint, name) is not None for name in PUBLIC_NAMES)
