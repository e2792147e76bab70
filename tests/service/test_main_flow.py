"""Sign in, call something protected, stay signed in."""

import base64
import json

import httpx2
import pytest

from authmint import ResourceServer
from authmint_service.clients import secret_hash
from tests.service.conftest import ISSUER, Service, StartService

pytestmark = pytest.mark.anyio


def claims_of(answer: httpx2.Response) -> dict[str, object]:
    part = answer.json()["access_token"].split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def header_of(answer: httpx2.Response) -> dict[str, object]:
    part = answer.json()["access_token"].split(".")[0]
    header: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return header


async def test_a_user_signs_in_and_a_resource_server_verifies_the_token_by_itself(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    answer = await service.sign_in(client, user, resource="orders")
    assert 200 == answer.status_code
    assert {"access_token", "token_type", "expires_in", "scope", "refresh_token"} == set(answer.json())
    orders = ResourceServer(
        issuer=ISSUER, audience="orders", jwks=(await service.http.get("/.well-known/jwks.json")).json(), clock=service.clock
    )
    who = await orders.verify(answer.json()["access_token"])
    assert (user.id, client.client_id, True, False) == (who.sub, who.client_id, who.is_user, who.is_service)
    assert {"orders:read", "orders:write"} == who.scopes


async def test_an_access_token_has_the_claims_of_rfc_9068_and_the_profile_of_its_subject(service: Service, secret: str) -> None:
    user, spa = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret)
    of_user = await service.sign_in(spa, user)
    of_service = await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    required = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sub_profile", "epoch"}
    assert required | {"sid", "auth_time", "amr"} == set(claims_of(of_user))
    assert required == set(claims_of(of_service))
    assert ("user", "service") == (claims_of(of_user)["sub_profile"], claims_of(of_service)["sub_profile"])
    assert (user.id, robot.subject) == (claims_of(of_user)["sub"], claims_of(of_service)["sub"])
    assert {"ES256"} == {header_of(of_user)["alg"], header_of(of_service)["alg"]}
    assert {"at+jwt"} == {header_of(of_user)["typ"], header_of(of_service)["typ"]}


@pytest.mark.own_service
async def test_a_refreshed_token_has_the_time_and_the_method_of_the_sign_in(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    signed_in_at, first = int(service.clock.now), await service.sign_in(client, user)
    service.clock.now += 100
    second = await service.refresh(client, first.json()["refresh_token"])
    repeated = await service.refresh(client, first.json()["refresh_token"])
    for answer in (first, second, repeated):
        assert (signed_in_at, ["pwd"]) == (claims_of(answer)["auth_time"], claims_of(answer)["amr"])


async def test_a_refresh_brings_a_new_pair_and_the_old_refresh_token_the_same_child_within_the_grace_period(
    service: Service,
) -> None:
    user, client = await service.add_account(), await service.add_client()
    first = (await service.sign_in(client, user)).json()
    second = await service.refresh(client, first["refresh_token"])
    again = await service.refresh(client, first["refresh_token"])
    assert (200, 200) == (second.status_code, again.status_code)
    assert first["refresh_token"] != second.json()["refresh_token"]
    assert second.json()["refresh_token"] == again.json()["refresh_token"]
    assert second.json()["access_token"] != again.json()["access_token"]
    assert claims_of(second)["sid"] == claims_of(again)["sid"]


async def test_a_service_authenticates_with_basic_or_in_the_form(service: Service, secret: str) -> None:
    robot = await service.add_client(secret)
    form = {"grant_type": "client_credentials"}
    basic = await service.http.post("/token", data=form, auth=(robot.client_id, secret))
    in_form = await service.http.post("/token", data=form | {"client_id": robot.client_id, "client_secret": secret})
    assert (200, 200) == (basic.status_code, in_form.status_code)
    assert "refresh_token" not in basic.json()


async def test_two_secrets_are_live_at_once_so_that_one_can_be_changed_without_a_gap(service: Service, secret: str) -> None:
    other = secret[::-1]
    robot = await service.add_client(secret, secret_hashes=(secret_hash(secret), secret_hash(other)))
    for one in (secret, other):
        answer = await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=one)
        assert 200 == answer.status_code


async def test_my_account_describes_a_user_and_a_service(service: Service, secret: str) -> None:
    user, spa = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret)
    of_user = await service.sign_in(spa, user)
    of_service = await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    answers = []
    for tokens in (of_user, of_service):
        headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
        answers.append((await service.http.get("/account/v1", headers=headers)).json())
    scopes = ["orders:read", "orders:write"]
    assert [
        {"id": user.id, "username": user.username, "sub_profile": "user", "client_id": spa.client_id, "scopes": scopes},
        {"id": robot.subject, "username": None, "sub_profile": "service", "client_id": robot.client_id, "scopes": scopes},
    ] == answers


async def test_my_account_refuses_a_token_for_another_audience(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    tokens = await service.sign_in(client, user, resource="orders")
    answer = await service.http.get("/account/v1", headers={"Authorization": f"Bearer {tokens.json()['access_token']}"})
    assert 401 == answer.status_code
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_lifetimes_stay_below_the_setting_and_differ_a_little(start_service: StartService) -> None:
    service = await start_service(access_token_ttl=1000)
    user, client = await service.add_account(), await service.add_client(scopes=frozenset())
    first = (await service.sign_in(client, user)).json()
    lifetimes = {(await service.refresh(client, first["refresh_token"])).json()["expires_in"] for _ in range(25)}
    assert len(lifetimes) > 1
    # The clock of a test is a quarter of a second into its second, and `expires_in` is what is left.
    assert all(959 <= lifetime <= 1000 for lifetime in lifetimes)
