"""Values that are given to applications work in other processes and in JSON too.

Kind: a value that only works in the process that made it. An application returns it from a route, sends it to a task queue,
copies it, or writes it into a log.
"""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from starlette.testclient import TestClient

from authmint import (
    AccessTokenClaims,
    BearerAuthError,
    ConfigurationError,
    InsufficientScope,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    Issuer,
    IssuerUnavailable,
    Principal,
    ResourceServer,
    ServiceAuthError,
    TemporarilyUnavailable,
    VerificationEvent,
)
from authmint.claims import read_claims
from tests.library.conftest import NOW
from tests.library.conftest import Issuer as Signing

CLAIMS: dict[str, Any] = {"groups": ["staff", {"id": 7}], "address": {"country": "NZ"}, "empty": {}}


@pytest.fixture
def caller(server: ResourceServer, issuer: Signing) -> Principal:
    return server.verify_sync(issuer.token(**CLAIMS))


def test_a_principal_that_a_route_returns_is_a_json_object(server: ResourceServer, issuer: Signing) -> None:
    class Wrapped(BaseModel):
        caller: Principal

    app = FastAPI()

    @app.get("/principal")
    async def principal(caller: Annotated[Principal, server.requires()]) -> Principal:
        return caller

    @app.get("/untyped", response_model=None)
    async def untyped(caller: Annotated[Principal, server.requires()]) -> Any:
        return {"caller": caller}

    @app.get("/model")
    async def model(caller: Annotated[Principal, server.requires()]) -> Wrapped:
        return Wrapped(caller=caller)

    headers = {"Authorization": f"Bearer {issuer.token(**CLAIMS)}"}
    client = TestClient(app)
    plain, *wrapped = (client.get(path, headers=headers).json() for path in ("/principal", "/untyped", "/model"))
    assert ("6f1c", ["orders:read"], ["orders"]) == (plain["sub"], plain["scopes"], plain["audience"])
    assert issuer.claims(**CLAIMS) == plain["claims"]
    assert [{"caller": plain}] * 2 == wrapped
    assert "claims" in client.get("/openapi.json").json()["components"]["schemas"]["Principal"]["properties"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_principal_is_the_same_in_another_process(caller: Principal, protocol: int) -> None:
    received = pickle.loads(pickle.dumps(caller, protocol))
    assert (caller, hash(caller)) == (received, hash(received))
    with pytest.raises(TypeError, match="read-only"):
        received.claims["sub"] = "other"


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, replace])
def test_a_principal_can_be_copied(caller: Principal, make: Callable[[Principal], Principal]) -> None:
    made = make(caller)
    assert caller == made
    with pytest.raises(TypeError, match="read-only"):
        made.claims["sub"] = "other"  # type: ignore[index]  # that it is refused is the point


def test_a_deep_copy_shares_nothing_with_the_principal(caller: Principal) -> None:
    copied = copy.deepcopy(caller)
    copied.claims["groups"].append("admin")
    assert ["staff", {"id": 7}] == caller.claims["groups"]


def test_a_principal_is_a_dict_of_plain_values_and_its_claims_are_json(caller: Principal, issuer: Signing) -> None:
    assert issuer.claims(**CLAIMS) == json.loads(json.dumps(caller.claims)) == asdict(caller)["claims"]
    assert caller == Principal(**asdict(caller))
    text = TypeAdapter(Principal).dump_json(caller)
    assert caller == TypeAdapter(Principal).validate_json(text)


def test_nothing_changes_the_claims_of_a_principal(caller: Principal, issuer: Signing) -> None:
    claims: Any = caller.claims

    def set_item() -> None:
        claims["scope"] = "admin"

    def delete_item() -> None:
        del claims["exp"]

    def merge() -> None:
        nonlocal claims
        claims |= {"scope": "admin"}

    changes: list[Callable[[], Any]] = [
        set_item, delete_item, merge, claims.clear, claims.popitem, lambda: claims.pop("exp"),
        lambda: claims.setdefault("a", 1), lambda: claims.update(scope="admin"),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert issuer.claims(**CLAIMS) == caller.claims


OTHERS = [
    VerificationEvent("token_refused", "expired", 0.5),
    read_claims(Signing().claims(nbf=NOW, epoch=1)),
    Issuer(url="https://auth.example", jwks={"keys": []}),
]
ERRORS = [
    InvalidToken("expired"), InsufficientScope(["orders:read"]), InvalidRequest("Twice."), InvalidClient(),
    TemporarilyUnavailable("Later.", retry_after=7), IssuerUnavailable("no keys", retry_after=7), ConfigurationError("issuer"),
    ServiceAuthError("400"), BearerAuthError(401, "No.", error="invalid_token", headers={"WWW-Authenticate": "Bearer"}),
]  # fmt: skip


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
def test_every_other_value_can_be_sent_copied_and_made_a_dict(value: VerificationEvent | AccessTokenClaims | Issuer) -> None:
    sent = pickle.loads(pickle.dumps(value))
    assert value == sent == copy.deepcopy(value) == type(value)(**asdict(value))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_the_same_in_another_process(error: Exception) -> None:
    received = pickle.loads(pickle.dumps(error))
    assert (type(error), str(error), vars(error)) == (type(received), str(received), vars(received))


def test_equal_issuers_are_one_in_a_set_whatever_their_keys_come_from() -> None:
    given = [Issuer(url=f"https://{name}.example", jwks=Signing().jwks) for name in ("a", "b")]
    assert 2 == len({*given, *copy.deepcopy(given)})
