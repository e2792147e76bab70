"""What clients and validators of other makers send and expect. Each of these failed with one that was tried unmodified."""

import base64
import string
from urllib.parse import quote_plus

import pytest

from authmint_service.clients import new_client_secret
from tests.service.conftest import Service, StartService
from tests.service.devices import sign_in

pytestmark = pytest.mark.anyio

SECRETS = [
    "v4+Wz/Yk3q8+1c0bZr9S5sY7mHfA2dJxKpLtQeUoIn0=", "a+b c%2Bd", "100%", "%ff%zz", "p:q&r=s", "p\u00e4ss w\u00f6rd+", "%41%41",
]  # fmt: skip
FORM = {"grant_type": "client_credentials", "token": "x"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
@pytest.mark.parametrize("secret", SECRETS)
async def test_a_secret_with_any_character_is_accepted_form_encoded_or_as_it_is(
    service: Service, secret: str, path: str
) -> None:
    """RFC 6749, section 2.3.1, form-encodes it. Authlib, requests-oauthlib, httpx-auth, fastmcp, curl and others do not."""
    robot = await service.add_client(secret)
    for sent in (secret, quote_plus(secret)):
        assert 200 == (await service.http.post(path, data=FORM, headers=basic(robot.client_id, sent))).status_code, sent
    in_form = {"client_id": robot.client_id, "client_secret": secret}
    assert 200 == (await service.http.post(path, data=FORM | in_form)).status_code
    for wrong in (secret + "+", quote_plus(quote_plus(secret + "+")), secret[:-1] + "\x00", "%"):
        assert 401 == (await service.http.post(path, data=FORM, headers=basic(robot.client_id, wrong))).status_code, wrong


async def test_a_secret_that_is_sent_as_latin_1_is_accepted(service: Service) -> None:
    """requests encodes a header of HTTP Basic so."""
    secret = "p\u00e4ss w\u00f6rd+"
    robot = await service.add_client(secret)
    sent = base64.b64encode(f"{robot.client_id}:{secret}".encode("latin-1")).decode()
    answer = await service.http.post("/token", data=FORM, headers={"Authorization": f"Basic {sent}"})
    assert 200 == answer.status_code


async def test_in_a_form_a_secret_has_one_reading(service: Service) -> None:
    robot = await service.add_client("a+b c")
    assert 401 == (await service.token(**FORM, client_id=robot.client_id, client_secret="a%2Bb+c")).status_code


async def test_an_id_is_form_decoded(service: Service, secret: str) -> None:
    """Some clients encode every character that is no letter and no digit."""
    robot = await service.add_client(secret, client_id=f"robot~{secret[5:15]}.x-y")
    encoded = "".join(one if one.isalnum() else f"%{ord(one):02X}" for one in robot.client_id)
    assert 200 == (await service.http.post("/token", data=FORM, headers=basic(encoded, secret))).status_code


async def test_both_readings_are_one_attempt(start_service: StartService) -> None:
    service = await start_service()
    robot = await service.add_client("a secret+with both readings")
    before = await service.internal("/metrics")
    assert 401 == (await service.http.post("/token", data=FORM, headers=basic(robot.client_id, "wrong+wrong"))).status_code
    refused = 'authmint_oauth_errors_total{error="invalid_client",grant_type="client_credentials"}'
    counts = [_sample(text, refused) for text in (before.text, (await service.internal("/metrics")).text)]
    assert counts[0] + 1 == counts[1]
    recorded = "SELECT count(*) FROM authmint.events WHERE kind = 'client.refused' AND client_id = $1"
    assert 1 == await service.database.fetch_value(recorded, robot.client_id)


def _sample(text: str, name: str) -> float:
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_secrets_of_this_service_need_no_encoding() -> None:
    for _ in range(1000):
        secret = new_client_secret()
        assert secret == quote_plus(secret)
        assert set(secret) <= {*string.ascii_letters, *string.digits, "-", "_"}


async def test_the_response_of_a_revocation_is_an_empty_json_object(service: Service, secret: str) -> None:
    """simple-oauth2 reads JSON from every response, and throws after a good sign-out without it."""
    here, robot = await sign_in(service), await service.add_client(secret)
    form = {"client_id": here.client.client_id}
    for token in (here.refresh, here.access, "unknown"):
        answer = await service.http.post("/revoke", data=form | {"token": token})
        assert (200, "application/json", {}) == (answer.status_code, answer.headers["content-type"], answer.json())
    answer = await service.http.post("/revoke", data={"token": "x"}, auth=(robot.client_id, secret))
    assert (200, "application/json", {}) == (answer.status_code, answer.headers["content-type"], answer.json())


async def test_introspection_names_the_person_to_a_client_that_may_ask(service: Service, secret: str) -> None:
    """Django REST framework finds its user by `username` (RFC 7662, section 2.2), and refuses everyone without it."""
    here, robot = await sign_in(service), await service.add_client(secret)
    who = {"client_id": robot.client_id, "client_secret": secret}
    answer = await service.http.post("/introspect", data=who | {"token": here.access})
    assert (True, here.user.username, here.user.id) == (
        answer.json()["active"],
        answer.json()["username"],
        answer.json()["sub"],
    )
    of_service = (await service.token(**FORM, **who)).json()["access_token"]
    answer = await service.http.post("/introspect", data=who | {"token": of_service})
    assert (True, False) == (answer.json()["active"], "username" in answer.json())
    await here.sign_out()
    assert {"active": False} == (await service.http.post("/introspect", data=who | {"token": here.access})).json()


async def test_a_client_that_introspects_its_own_refresh_token_gets_the_name_as_well(service: Service, secret: str) -> None:
    grants = frozenset({"password", "refresh_token"})
    person, client = await service.add_account(), await service.add_client(secret, grants=grants)
    who = {"client_id": client.client_id, "client_secret": secret}
    tokens = (await service.sign_in(client, person, client_secret=secret)).json()
    answer = await service.http.post("/introspect", data=who | {"token": tokens["refresh_token"]})
    assert (True, person.username) == (answer.json()["active"], answer.json()["username"])


async def test_no_other_client_gets_a_name(service: Service) -> None:
    here = await sign_in(service)
    for form in ({"client_id": here.client.client_id}, {}):
        answer = await service.http.post("/introspect", data=form | {"token": here.access})
        assert 401 == answer.status_code
        assert here.user.username not in answer.text
