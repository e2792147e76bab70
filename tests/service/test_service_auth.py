"""A service calls another with `ServiceAuth`: real tokens of a real token service, verified by a real resource server."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from fastapi import FastAPI

from authmint import ConfigurationError, Principal, ResourceServer, ServiceAuth, ServiceAuthError
from authmint.jose import Parser, SigningKey, VerifyingKey, read_payload
from tests.service.conftest import ISSUER, Service

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]

BILLING = "https://billing.example"


class Network:
    """The token service and a billing service, reached by their names, and how often each was asked."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asked: list[str] = []
        self.billing = FastAPI()

        @self.billing.get("/who")
        async def who(caller: Annotated[Principal, self.auth.service.requires("billing:write")]) -> str:
            return caller.client_id

    @property
    def auth(self) -> ResourceServer:
        if not hasattr(self, "_auth"):
            self._auth = ResourceServer(
                issuer=ISSUER, audience="billing", clock=self.service.clock, jwks={"keys": self.service.app.state.keys}
            )
        return self._auth

    @asynccontextmanager
    async def client(self, auth: ServiceAuth) -> AsyncIterator[httpx2.AsyncClient]:
        mounts = {
            "all://auth.example": httpx2.ASGITransport(app=self._counting(self.service.app)),
            "all://billing.example": httpx2.ASGITransport(app=self._counting(self.billing)),
        }
        async with httpx2.AsyncClient(mounts=mounts, auth=auth, base_url=BILLING) as http:
            yield http

    def _counting(self, app: Any) -> Any:
        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(scope["path"])
            await app(scope, receive, send)

        return counted


@pytest.fixture
async def network(service: Service) -> Network:
    service.app.state.keys = (await service.http.get("/.well-known/jwks.json")).json()["keys"]
    return Network(service)


async def make_auth(network: Network, secret: str, **changes: Any) -> ServiceAuth:
    client = await network.service.add_client(
        secret, scopes=frozenset({"billing:write", "billing:read"}), resources=("billing",), default_resources=("billing",)
    )
    known: dict[str, Any] = {
        "issuer": ISSUER, "client_id": client.client_id, "client_secret": secret, "audience": "billing",
        "scopes": ["billing:write"], "clock": network.service.clock,
    }  # fmt: skip
    return ServiceAuth(**(known | changes))


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_service_calls_another_in_its_own_name(network: Network, secret: str, method: str) -> None:
    auth = await make_auth(network, secret, authentication_method=method)
    async with network.client(auth) as http:
        answer = await http.get("/who")
    assert 200 == answer.status_code, answer.text
    assert ["/.well-known/oauth-authorization-server", "/token", "/who"] == network.asked


async def test_any_number_of_concurrent_callers_cause_one_token_request(network: Network, secret: str) -> None:
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token")
    async with network.client(auth) as http:
        answers = await asyncio.gather(*(http.get("/who") for _ in range(30)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == network.asked.count("/token")


async def test_a_token_is_kept_until_it_expires_and_then_one_request_brings_the_next(network: Network, secret: str) -> None:
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token")
    async with network.client(auth) as http:
        await http.get("/who")
        network.service.clock.now += 200
        await http.get("/who")
        assert 1 == network.asked.count("/token")
        network.service.clock.now += 105
        await asyncio.gather(*(http.get("/who") for _ in range(10)))
        assert 2 == network.asked.count("/token")


async def test_a_refused_token_is_replaced_and_the_request_sent_once_more(network: Network, secret: str) -> None:
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token")
    async with network.client(auth) as http:
        await http.get("/who")
        assert auth._token is not None
        auth._token = type(auth._token)("not.a.token", auth._token.renew_at, auth._token.expires_at)
        assert 200 == (await http.get("/who")).status_code
    assert 2 == network.asked.count("/token")
    assert 3 == network.asked.count("/who")


async def test_a_403_or_a_second_401_is_handed_to_the_caller(network: Network, secret: str) -> None:
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token", scopes=["billing:read"])
    async with network.client(auth) as http:
        assert 403 == (await http.get("/who")).status_code
    assert (1, 1) == (network.asked.count("/token"), network.asked.count("/who"))
    network.auth._state.verifier.trust([])
    async with network.client(auth) as http:
        assert 401 == (await http.get("/who")).status_code
    assert (2, 3) == (network.asked.count("/token"), network.asked.count("/who"))


async def test_without_a_token_no_request_is_sent_and_the_error_names_no_secret(network: Network, secret: str) -> None:
    wrong = secret[::-1]
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token", client_secret=wrong)
    async with network.client(auth) as http:
        with pytest.raises(ServiceAuthError, match=r"401 \(invalid_client\)") as raised:
            await http.get("/who")
    assert wrong not in str(raised.value) + repr(auth)
    assert 0 == network.asked.count("/who")


async def test_after_a_caller_has_given_up_the_next_one_asks(network: Network, secret: str) -> None:
    auth = await make_auth(network, secret, token_url=f"{ISSUER}/token")
    async with network.client(auth) as http:
        first = asyncio.create_task(http.get("/who"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert 200 == (await http.get("/who")).status_code


Start = Callable[[str, list[tuple[str, str]]], Any]


def answering(
    answers: dict[str, tuple[str, list[tuple[str, str]], bytes]],
) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    """A WSGI application with one answer for each path."""

    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        status, headers, body = answers[environ["PATH_INFO"]]
        start(status, headers)
        return [body]

    return app


GOOD = json.dumps({"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 300}).encode()
JSON = [("content-type", "application/json")]


def test_a_synchronous_client_is_served_too_and_its_threads_share_one_request() -> None:
    asked: list[str] = []
    lock = threading.Lock()

    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        with lock:
            asked.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/token":
            start("200 OK", JSON)
            return [GOOD]
        start("200 OK" if environ.get("HTTP_AUTHORIZATION") == "Bearer a.b.c" else "401 No", [])
        return [b""]

    auth = ServiceAuth(issuer=ISSUER, client_id="c", client_secret="s", token_url=f"{ISSUER}/token")
    with httpx2.Client(transport=httpx2.WSGITransport(app=app), auth=auth, base_url=BILLING) as http:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(http.get("/x").status_code)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [200] * 8 == statuses
    assert 1 == asked.count("/token")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        ("200 OK", JSON, b""), ("200 OK", JSON, b"[]"), ("200 OK", JSON, b'{"access_token": "x"}'), ("500 No", JSON, b"<html>"),
        ("200 OK", JSON, b'{"access_token": "x", "token_type": "mac"}'), ("400 No", JSON, b'{"error": "Canary <b>"}'),
        ("200 OK", JSON, b'{"access_token": "x", "token_type": "bearer", "expires_in": -1}'),
        ("200 OK", JSON, b'{"access_token": "x", "token_type": "bearer", "expires_in": NaN}'),
        ("200 OK", JSON, b'{"access_token": "' + b"x" * 70_000 + b'", "token_type": "bearer"}'),
        ("307 Elsewhere", [("location", "https://evil.example/token")], b""),
    ],
)  # fmt: skip
def test_an_answer_without_a_good_token_is_an_error_that_repeats_nothing(
    status: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    app = answering({"/token": (status, headers, body)})
    auth = ServiceAuth(issuer=ISSUER, client_id="c", client_secret="s", token_url=f"{ISSUER}/token")
    http = httpx2.Client(transport=httpx2.WSGITransport(app=app), auth=auth, base_url=BILLING)
    with http, pytest.raises(ServiceAuthError) as raised:
        http.get("/x")
    assert "anary" not in str(raised.value)


def test_metadata_of_another_issuer_is_not_accepted() -> None:
    metadata = json.dumps({"issuer": "https://evil.example", "token_endpoint": "https://evil.example/token"}).encode()
    paths = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
    app = answering(dict.fromkeys(paths, ("200 OK", JSON, metadata)))
    auth = ServiceAuth(issuer=ISSUER, client_id="c", client_secret="s")
    http = httpx2.Client(transport=httpx2.WSGITransport(app=app), auth=auth, base_url=BILLING)
    with http, pytest.raises(ServiceAuthError, match="metadata"):
        http.get("/x")


def test_a_client_may_authenticate_with_a_signed_assertion_that_is_never_the_same() -> None:
    key = SigningKey.generate()
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/token":
            form = dict(parse_qsl(environ["wsgi.input"].read().decode()))
            assertion = Parser(types={"jwt"}).parse(form["client_assertion"])
            claims = read_payload(VerifyingKey.from_jwk(key.public_jwk()).verify(assertion))
            seen.append(claims | {"form": form["client_id"], "type": form["client_assertion_type"].rsplit(":", 1)[1]})
            start("200 OK", JSON)
            return [GOOD]
        start("401 No", [("www-authenticate", 'Bearer error="invalid_token"')])
        return [b""]

    auth = ServiceAuth(issuer=ISSUER, client_id="c", private_key=key, token_url=f"{ISSUER}/token")
    with httpx2.Client(transport=httpx2.WSGITransport(app=app), auth=auth, base_url=BILLING) as http:
        http.get("/x")
    assert 2 == len({one["jti"] for one in seen})
    for one in seen:
        assert ("c", "c", f"{ISSUER}/token", "c", "jwt-bearer") == (
            one["iss"],
            one["sub"],
            one["aud"],
            one["form"],
            one["type"],
        )
        assert 60 == one["exp"] - one["iat"]


def test_settings_that_cannot_work_are_refused() -> None:
    good: dict[str, Any] = {"issuer": ISSUER, "client_id": "c", "client_secret": "s"}
    changes: list[dict[str, Any]] = [
        {"issuer": "http://auth.example"}, {"client_id": ""}, {"client_secret": ""}, {"private_key": SigningKey.generate()},
        {"scopes": ["a b"]}, {"token_url": "ftp://x"},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ConfigurationError):
            ServiceAuth(**(good | change))
