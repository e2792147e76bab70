"""Several issuers, shared secrets, cached tokens, tokens for tests, events, the metadata of a service, plain ASGI."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from authmint import (
    ConfigurationError,
    InvalidToken,
    Issuer,
    Principal,
    ResourceServer,
    ResourceServerMiddleware,
    StaticKeySet,
    VerificationEvent,
)
from authmint.jose import JWTSigner, SharedSecretKey
from authmint.testing import Tokens
from tests.library.conftest import AUDIENCE, ISSUER, NOW
from tests.library.conftest import Issuer as Signing

pytestmark = pytest.mark.anyio

OTHER = "https://other.example"
SECRET = secrets.token_bytes(32)


async def reason(server: ResourceServer, token: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        await server.verify(token)
    return refused.value.reason


async def test_each_of_several_issuers_is_trusted_with_its_own_keys_alone(issuer: Signing) -> None:
    other = Signing()
    server = ResourceServer(
        issuers=[Issuer(url=ISSUER, jwks=issuer.jwks), Issuer(url=OTHER, jwks=other.jwks)], audience=AUDIENCE, clock=lambda: NOW
    )
    assert ISSUER == (await server.verify(issuer.token())).issuer
    assert OTHER == (await server.verify(other.token(iss=OTHER))).issuer
    for crossed in (issuer.token(iss=OTHER), other.token(iss=ISSUER)):
        assert "unknown_key" == await reason(server, crossed)
    other.key.kid, kid = issuer.key.kid, other.key.kid
    assert "bad_signature" == await reason(server, JWTSigner(other.key).sign(other.claims(iss=ISSUER)))
    other.key.kid = kid
    unknown_issuers: list[Any] = ["https://third.example", ..., None, 1, [ISSUER], {}]
    for unknown in unknown_issuers:
        assert "wrong_issuer" == await reason(server, issuer.token(iss=unknown))


async def test_a_shared_secret_verifies_hs256_and_nothing_else(issuer: Signing) -> None:
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, shared_secret=SECRET, clock=lambda: NOW)
    signer = JWTSigner(SharedSecretKey(SECRET))
    assert "6f1c" == (await server.verify(signer.sign(issuer.claims()))).sub
    assert "6f1c" == (await server.verify(JWTSigner(SharedSecretKey(SECRET, kid="any")).sign(issuer.claims()))).sub
    assert "wrong_algorithm" == await reason(server, issuer.token())
    assert "bad_signature" == await reason(server, JWTSigner(SharedSecretKey(secrets.token_bytes(32))).sign(issuer.claims()))
    assert "wrong_type" == await reason(server, signer.sign(issuer.claims(), typ="JWT"))


def test_sources_of_keys_that_contradict_each_other_are_named(issuer: Signing) -> None:
    one: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE}
    several = [Issuer(url=ISSUER, jwks=issuer.jwks), Issuer(url=OTHER, jwks=issuer.jwks)]
    for wrong, words in (
        (one | {"jwks": issuer.jwks, "shared_secret": SECRET}, "jwks and shared_secret"),
        (one | {"key_set": StaticKeySet(issuer.jwks), "jwks_file": "x"}, "key_set and jwks_file"),
        ({"audience": AUDIENCE, "issuers": several, "jwks": issuer.jwks}, "issuers and jwks"),
        (one | {"issuers": several}, "issuer and issuers"),
        ({"audience": AUDIENCE, "issuers": [several[0], Issuer(url=OTHER, shared_secret=SECRET)]}, "shared_secret and issuers"),
        ({"audience": AUDIENCE, "issuers": [several[0], several[0]]}, "twice"),
        ({"audience": AUDIENCE}, "issuer is missing"),
        (one | {"shared_secret": "short"}, "shared_secret is too weak"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            ResourceServer(**wrong)


async def test_a_verified_token_is_cached_until_it_expires_or_the_keys_change(issuer: Signing) -> None:
    now, events = [float(NOW)], []
    keys = StaticKeySet(issuer.jwks)
    server = ResourceServer(
        issuer=ISSUER, audience=AUDIENCE, key_set=keys, clock=lambda: now[0], observer=lambda event: events.append(event.name)
    )
    token = issuer.token()
    for _ in range(3):
        await server.verify(token)
    assert ["token_verified", "token_cached", "token_cached"] == events
    keys.replace(issuer.jwks)
    await server.verify(token)
    assert "token_verified" == events[-1]
    now[0] = NOW + 329.9
    await server.verify(token)
    now[0] = NOW + 330
    assert "expired" == await reason(server, token)
    now[0] = NOW - 31
    assert "issued_in_future" == await reason(server, token)
    keys.replace(Signing().jwks)
    now[0] = NOW
    assert "unknown_key" == await reason(server, token)


async def test_the_number_of_cached_tokens_is_bounded_and_may_be_zero(issuer: Signing) -> None:
    for size in (0, 3):
        server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW, cache_size=size)
        for number in range(20):
            await server.verify(issuer.token(jti=str(number)))
        assert size == len(server._state.verifier.cache._tokens)


async def test_a_refused_token_is_never_cached(issuer: Signing) -> None:
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW)
    for _ in range(3):
        assert "expired" == await reason(server, issuer.token(exp=NOW - 100))
    assert {} == server._state.verifier.cache._tokens


async def test_events_have_the_reason_and_an_observer_that_raises_does_no_harm(issuer: Signing) -> None:
    events: list[VerificationEvent] = []

    def observer(event: VerificationEvent) -> None:
        events.append(event)
        raise RuntimeError("the observer is broken")

    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW, observer=observer)
    await server.verify(issuer.token())
    assert "wrong_audience" == await reason(server, issuer.token(aud="x"))
    assert [VerificationEvent("token_verified"), VerificationEvent("token_refused", "wrong_audience")] == events


async def test_a_service_may_refuse_tokens_that_others_receive_as_well(issuer: Signing) -> None:
    server = ResourceServer(issuer=ISSUER, audience=["orders", "shop"], sole_audience=True, jwks=issuer.jwks, clock=lambda: NOW)
    for audience in ("orders", ["shop"], ["orders", "shop"]):
        assert "6f1c" == (await server.verify(issuer.token(aud=audience))).sub
    for other in (["orders", "billing"], ["billing", "shop", "orders"]):
        assert "other_audiences" == await reason(server, issuer.token(aud=other))
    assert "wrong_audience" == await reason(server, issuer.token(aud=["billing", "crm"]))


async def test_a_token_for_one_of_several_audiences_of_a_service_is_accepted(issuer: Signing) -> None:
    server = ResourceServer(issuer=ISSUER, audience=["orders", "shop"], jwks=issuer.jwks, clock=lambda: NOW)
    assert ("orders", "shop") == server.audiences
    for audience in ("orders", "shop", ["billing", "shop"], ["orders", "shop"]):
        assert "6f1c" == (await server.verify(issuer.token(aud=audience))).sub
    for other in ("billing", "order", "orders shop", ["billing", "shops"], ["orders,shop"]):
        assert "wrong_audience" == await reason(server, issuer.token(aud=other))
    with server.testing() as tokens:
        assert ("orders",) == (await server.verify(tokens.user()["Authorization"].removeprefix("Bearer "))).audience
        assert "wrong_audience" == await reason(server, tokens.wrong_audience()["Authorization"].removeprefix("Bearer "))


def test_a_resource_server_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="AUTHMINT_ISSUER is not set"):
        ResourceServer.from_env()
    monkeypatch.setenv("AUTHMINT_ISSUER", ISSUER)
    with pytest.raises(ConfigurationError, match="AUTHMINT_AUDIENCE is not set"):
        ResourceServer.from_env()
    monkeypatch.setenv("AUTHMINT_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("AUTHMINT_LEEWAY", "5")
    assert ((ISSUER,), (AUDIENCE,), 5) == ((server := ResourceServer.from_env()).issuers, server.audiences, server._leeway)
    assert ("billing",) == ResourceServer.from_env(audience="billing").audiences
    monkeypatch.setenv("AUTHMINT_LEEWAY", "soon")
    with pytest.raises(ConfigurationError, match="AUTHMINT_LEEWAY"):
        ResourceServer.from_env()
    monkeypatch.setenv("ORDERS_ISSUER", OTHER)
    monkeypatch.setenv("ORDERS_AUDIENCE", "orders")
    monkeypatch.setenv("ORDERS_SHARED_SECRET", base64.b64encode(SECRET).decode())
    assert (OTHER,) == ResourceServer.from_env("ORDERS_").issuers


async def test_a_shared_secret_may_come_from_a_file(issuer: Signing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a setting that is dropped without a word. The service reads the same variable."""
    secret = base64.b64encode(SECRET).decode()
    (tmp_path / "secret").write_text(f"{secret}\n")
    monkeypatch.setenv("AUTHMINT_ISSUER", ISSUER)
    monkeypatch.setenv("AUTHMINT_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("AUTHMINT_SHARED_SECRET_FILE", str(tmp_path / "secret"))
    token = JWTSigner(SharedSecretKey(secret.encode())).sign(issuer.claims())
    assert "6f1c" == (await ResourceServer.from_env(clock=lambda: NOW).verify(token)).sub
    monkeypatch.setenv("AUTHMINT_SHARED_SECRET", secret)
    with pytest.raises(ConfigurationError, match="contradict each other"):
        ResourceServer.from_env()
    monkeypatch.delenv("AUTHMINT_SHARED_SECRET")
    for file in ("none", "."):
        monkeypatch.setenv("AUTHMINT_SHARED_SECRET_FILE", str(tmp_path / file))
        with pytest.raises(ConfigurationError, match="AUTHMINT_SHARED_SECRET_FILE cannot be read") as raised:
            ResourceServer.from_env()
        assert str(tmp_path) not in str(raised.value)


def make_service() -> tuple[FastAPI, ResourceServer]:
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, scopes={"orders:read": "Read"})
    app = FastAPI()
    app.include_router(auth.metadata_router("https://orders.example/v1"))

    @app.get("/orders")
    async def orders(who: Annotated[Principal, auth.requires("orders:read")]) -> str:
        return who.sub

    @app.get("/plain")
    def plain(who: Annotated[Principal, auth.service.requires()]) -> str:
        return who.sub

    return app, auth


async def get(app: Any, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://orders.example") as http:
        return await http.get(path, headers=headers)


async def test_a_service_is_tested_with_real_tokens_and_without_a_server() -> None:
    app, auth = make_service()
    with auth.testing() as tokens:
        assert 401 == (await get(app, "/orders")).status_code
        assert 403 == (await get(app, "/orders", tokens.user("u1"))).status_code
        assert '"u1"' == (await get(app, "/orders", tokens.user("u1", ["orders:read"]))).text
        assert 401 == (await get(app, "/orders", tokens.user("u1", ["orders:read"], exp=1))).status_code
        assert 403 == (await get(app, "/plain", tokens.user("u1"))).status_code
        assert '"robot"' == (await get(app, "/plain", tokens.service("robot"))).text
        outside = tokens.user("u1", ["orders:read"])
    assert 503 == (await get(app, "/orders", outside | {"Authorization": outside["Authorization"]})).status_code


async def test_every_kind_of_bad_token_can_be_made(authmint_testing: Callable[[ResourceServer], Tokens]) -> None:
    app, auth = make_service()
    tokens = authmint_testing(auth)
    good = tokens.user(scopes=["orders:read"])
    for bad in (
        tokens.expired(scopes=["orders:read"]), tokens.wrong_audience(scopes=["orders:read"]),
        tokens.unknown_key(scopes=["orders:read"]), tokens.user(scopes=["orders:read"], jti=None),
    ):  # fmt: skip
        assert 401 == (await get(app, "/orders", bad)).status_code
    tokens.rotate()
    assert [200, 200] == [
        (await get(app, "/orders", headers)).status_code for headers in (good, tokens.user(scopes=["orders:read"]))
    ]
    tokens.rotate(keep_old=False)
    assert 401 == (await get(app, "/orders", good)).status_code


async def test_a_service_publishes_its_metadata_and_its_challenges_name_the_url() -> None:
    app, _ = make_service()
    url = "https://orders.example/.well-known/oauth-protected-resource/v1"
    answer = await get(app, "/.well-known/oauth-protected-resource/v1")
    assert {
        "resource": "https://orders.example/v1", "authorization_servers": [ISSUER], "scopes_supported": ["orders:read"],
        "bearer_methods_supported": ["header"],
    } == answer.json()  # fmt: skip
    refused = await get(app, "/orders")
    assert f'Bearer scope="orders:read", resource_metadata="{url}"' == refused.headers["www-authenticate"]


async def test_twenty_rotations_under_load_cost_no_401() -> None:
    app, auth = make_service()
    with auth.testing() as tokens:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://orders.example") as http:
            for _ in range(20):
                headers = [tokens.user(f"u{number}", ["orders:read"]) for number in range(5)]
                tokens.rotate()
                answers = await asyncio.gather(*(http.get("/orders", headers=one) for one in headers * 3))
                assert {200} == {answer.status_code for answer in answers}


def starlette_app(auth: ResourceServer) -> Starlette:
    async def who(request: Request) -> PlainTextResponse:
        principal = request.state.principal
        return PlainTextResponse(principal.sub if principal else "no caller")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.state.principal.sub)
        await socket.close()

    app = Starlette(routes=[Route("/", who), WebSocketRoute("/live", live)])
    app.add_middleware(ResourceServerMiddleware, auth=auth, scopes=["orders:read"])
    return app


def test_a_starlette_application_is_protected_by_the_middleware() -> None:
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE)
    app = starlette_app(auth)
    with auth.testing() as tokens, TestClient(app) as client:
        good = tokens.user("u1", ["orders:read"])
        assert (200, "u1") == ((answer := client.get("/", headers=good)).status_code, answer.text)
        assert 403 == client.get("/", headers=tokens.user("u1")).status_code
        refused = client.get("/")
        assert (401, 'Bearer scope="orders:read"') == (refused.status_code, refused.headers["www-authenticate"])
        with client.websocket_connect("/live", headers=good) as socket:
            assert "u1" == socket.receive_text()
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/live"):
            pass
        assert 401 == denied.value.status_code


async def test_an_optional_middleware_allows_a_request_without_a_token() -> None:
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE)

    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse("no caller" if request.state.principal is None else request.state.principal.sub)

    app = ResourceServerMiddleware(Starlette(routes=[Route("/", who)]), auth=auth.optional)
    with auth.testing() as tokens:
        assert "no caller" == (await get(app, "/")).text
        assert "u1" == (await get(app, "/", tokens.user("u1"))).text
        assert 401 == (await get(app, "/", {"Authorization": "Bearer x"})).status_code
