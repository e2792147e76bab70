"""What an authorization brings into the token and into the response, and what stands in neither unless a grant gives it."""

import asyncio
import base64
import json
import secrets
from dataclasses import replace
from typing import Any

import pytest

from authmint.errors import TemporarilyUnavailable
from authmint_service.change_feed import EpochReading
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys import SharedSecretKeyRing
from authmint_service.tokens import Authentication, Authorization, Step, StepKind, TokenIssuer, TokenResponse

NOW = 1_800_000_000.75
PLAIN = Authorization(
    subject="s", subject_profile="user", client_id="c", scopes=frozenset({"orders:read"}), audiences=("orders",),
    reading=EpochReading(1_799_999_999_000, NOW),
)  # fmt: skip


def issue(authorization: Authorization) -> tuple[TokenResponse, dict[str, Any]]:
    ring = SharedSecretKeyRing(secrets.token_bytes(32), SecretKeys({1: secrets.token_bytes(32)}))
    issuer = TokenIssuer(ring, issuer="https://auth.example", lifetime=300, clock=lambda: NOW)
    tokens = asyncio.run(issuer.issue(authorization))
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(tokens.access_token.split(".")[1] + "=="))
    return tokens, claims


def test_a_plain_authorization_has_the_claims_and_members_of_every_token_and_no_others() -> None:
    tokens, claims = issue(PLAIN)
    assert {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sub_profile", "epoch"} == set(claims)
    assert {"access_token", "token_type", "expires_in", "scope"} == set(tokens.to_json())
    assert "Bearer" == tokens.to_json()["token_type"]


def test_an_authentication_is_the_time_of_its_last_step_and_each_of_its_methods_once() -> None:
    steps = (Step(StepKind.PASSWORD, NOW - 9), Step(StepKind.PASSWORD, NOW - 5))
    _, claims = issue(replace(PLAIN, authentication=Authentication("s", steps)))
    assert (int(NOW - 5), ["pwd"]) == (claims["auth_time"], claims["amr"])


def test_a_key_and_an_actor_are_claims() -> None:
    _, claims = issue(replace(PLAIN, confirmation={"jkt": "thumbprint"}, actor={"sub": "a service"}))
    assert ({"jkt": "thumbprint"}, {"sub": "a service"}) == (claims["cnf"], claims["act"])


def test_the_type_of_a_token_and_more_members_are_in_the_response_and_replace_none_of_its_own() -> None:
    given = replace(PLAIN, token_type="DPoP", issued_token_type="urn:ietf:params:oauth:token-type:access_token",
                    refresh_token="amrt_x", extra={"id_token": "x", "access_token": "another"})  # fmt: skip
    tokens, claims = issue(given)
    members = tokens.to_json()
    assert ("DPoP", "urn:ietf:params:oauth:token-type:access_token") == (members["token_type"], members["issued_token_type"])
    assert ("x", tokens.access_token, "amrt_x") == (members["id_token"], members["access_token"], members["refresh_token"])
    assert not {"id_token", "token_type", "issued_token_type"} & set(claims)


@pytest.mark.parametrize("age", [0, 0.5, 1, 60, 250])
def test_the_life_of_a_token_is_counted_from_its_reading_and_not_from_its_signature(age: float) -> None:
    tokens, claims = issue(replace(PLAIN, reading=EpochReading(7, NOW - age)))
    assert (7, int(NOW - age)) == (claims["epoch"], claims["iat"])
    assert 288 <= claims["exp"] - claims["iat"] <= 300
    assert int(claims["exp"] - NOW) == tokens.to_json()["expires_in"]


def test_no_token_is_issued_whose_life_is_over() -> None:
    with pytest.raises(TemporarilyUnavailable):
        issue(replace(PLAIN, reading=EpochReading(7, NOW - 301)))
