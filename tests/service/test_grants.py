"""The registry of grants: what each grant says about itself, and which clients may have it."""

import pytest

from authmint_service.errors import InvalidValue
from authmint_service.grants import GRANT_CLASSES, GRANT_TYPES, check_client_grants
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio


def test_the_registry_lists_every_grant_once() -> None:
    assert ("password", "refresh_token", "client_credentials") == GRANT_TYPES
    secret = {parameter.name for grant in GRANT_CLASSES for parameter in grant.parameters if parameter.secret}
    assert {"password", "refresh_token"} == secret
    assert ["password"] == [grant.name for grant in GRANT_CLASSES if grant.interactive]


def test_an_unknown_grant_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match=r"^A grant is one of password, refresh_token, client_credentials\.$"):
        check_client_grants({"password", "implicit"}, confidential=True)


def test_a_public_client_may_not_have_client_credentials() -> None:
    check_client_grants({"client_credentials"}, confidential=True)
    check_client_grants({"password", "refresh_token"}, confidential=False)
    with pytest.raises(InvalidValue, match=r"^A public client cannot use client_credentials\.$"):
        check_client_grants({"client_credentials"}, confidential=False)


async def test_a_public_client_whose_row_has_client_credentials_gets_no_token(service: Service) -> None:
    client = await service.add_client(grants=frozenset({"client_credentials"}))
    answer = await service.token(grant_type="client_credentials", client_id=client.client_id)
    assert (400, "unauthorized_client") == (answer.status_code, answer.json()["error"])


async def test_a_client_with_a_grant_that_the_service_does_not_have_still_loads(service: Service) -> None:
    client = await service.add_client(grants=frozenset({"password", "urn:example:other"}))
    assert 200 == (await service.sign_in(client, await service.add_account())).status_code
    answer = await service.token(grant_type="urn:example:other", client_id=client.client_id)
    assert (400, "unsupported_grant_type") == (answer.status_code, answer.json()["error"])
