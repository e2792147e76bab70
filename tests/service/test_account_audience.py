"""The service's own routes take a token that is for them alone, and who may ask for one."""

import base64
import json
from typing import Any

import pytest

from authmint_service.clients import Client
from tests.service.conftest import ISSUER, Service

pytestmark = pytest.mark.anyio

OTHER_RESOURCES = """
    UPDATE authmint.clients SET resources = '{billing}', default_resources = '{billing}' WHERE client_id = $1
"""


def audience_of(tokens: dict[str, Any]) -> Any:
    content = tokens["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))["aud"]


async def orders_client(service: Service) -> Client:
    """A client with the password grant that does not list the issuer."""
    return await service.add_client(resources=("orders",), default_resources=("orders",))


async def status(service: Service, tokens: dict[str, Any], path: str = "/account/v1") -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await service.http.get(path, headers=headers)).status_code


@pytest.mark.parametrize("path", ["/account/v1", "/account/v1/sessions"])
async def test_an_account_route_refuses_a_token_that_another_service_receives_as_well(service: Service, path: str) -> None:
    both = ("orders", ISSUER)
    client, user = await service.add_client(resources=both, default_resources=both), await service.add_account()
    tokens = (await service.sign_in(client, user)).json()
    assert sorted(both) == sorted(audience_of(tokens))
    assert 401 == await status(service, tokens, path)
    alone = (await service.refresh(client, tokens["refresh_token"], resource=ISSUER)).json()
    assert (ISSUER, 200) == (audience_of(alone), await status(service, alone, path))


async def test_an_admin_route_refuses_a_token_that_another_service_receives_as_well(service: Service, secret: str) -> None:
    both, user = ("orders", ISSUER), await service.add_account()
    scopes = frozenset({"admin:sessions:read"})
    robot = await service.add_client(secret, scopes=scopes, resources=both, default_resources=both)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    path = f"/admin/v1/accounts/{user.id}/sessions"
    for more, expected in (({}, 401), ({"resource": "orders"}, 401), ({"resource": ISSUER}, 200)):
        assert expected == await status(service, (await service.token(**form, **more)).json(), path)


async def test_a_client_with_the_password_grant_may_name_the_issuer_although_it_does_not_list_it(service: Service) -> None:
    client, user = await orders_client(service), await service.add_account()
    at_sign_in = (await service.sign_in(client, user, resource=ISSUER)).json()
    assert (ISSUER, 200) == (audience_of(at_sign_in), await status(service, at_sign_in))
    # A session that was started for the issuer goes on to be for it.
    again = (await service.refresh(client, at_sign_in["refresh_token"])).json()
    assert (ISSUER, 200) == (audience_of(again), await status(service, again))
    refused = await service.refresh(client, again["refresh_token"], resource="orders")
    assert (400, "invalid_target") == (refused.status_code, refused.json()["error"])


async def test_a_refresh_that_names_the_issuer_changes_nothing_for_the_next_one(service: Service) -> None:
    client, user = await orders_client(service), await service.add_account()
    first = (await service.sign_in(client, user)).json()
    named = (await service.refresh(client, first["refresh_token"], resource=ISSUER)).json()
    # The response was lost, and the same request again gets the same child.
    repeated = (await service.refresh(client, first["refresh_token"], resource=ISSUER)).json()
    assert (named["refresh_token"], ISSUER) == (repeated["refresh_token"], audience_of(repeated))
    assert 200 == await status(service, named)
    after = (await service.refresh(client, named["refresh_token"])).json()
    assert ("orders", 401) == (audience_of(after), await status(service, after))


@pytest.mark.parametrize("resource", ["https://auth.example/", "https://AUTH.example", "https://auth.example.com", "billing"])
async def test_no_other_resource_is_allowed_by_that(service: Service, resource: str) -> None:
    client, user = await orders_client(service), await service.add_account()
    assert "invalid_target" == (await service.sign_in(client, user, resource=resource)).json()["error"]
    token = (await service.sign_in(client, user)).json()["refresh_token"]
    assert "invalid_target" == (await service.refresh(client, token, resource=resource)).json()["error"]
    assert 200 == (await service.refresh(client, token)).status_code


async def test_a_session_whose_resources_were_taken_from_its_client_still_opens_the_account(service: Service) -> None:
    client, user = await orders_client(service), await service.add_account()
    token = (await service.sign_in(client, user)).json()["refresh_token"]
    await service.database.execute(OTHER_RESOURCES, client.client_id)
    # The statement itself refuses, though this process has the client as it was before.
    refused = await service.refresh(client, token)
    assert (400, "invalid_target") == (refused.status_code, refused.json()["error"])
    opened = (await service.refresh(client, token, resource=ISSUER)).json()
    assert (ISSUER, 200) == (audience_of(opened), await status(service, opened))


async def test_a_service_must_list_the_issuer(service: Service, secret: str) -> None:
    robot = await service.add_client(secret, resources=("orders",), default_resources=("orders",))
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    refused = await service.token(**form, resource=ISSUER)
    assert (400, "invalid_target") == (refused.status_code, refused.json()["error"])
    listed = await service.add_client(secret, resources=("orders", ISSUER), default_resources=("orders",))
    form["client_id"] = listed.client_id
    assert ["orders", ISSUER] == [
        audience_of((await service.token(**form, **more)).json()) for more in ({}, {"resource": ISSUER})
    ]
