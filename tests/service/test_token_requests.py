"""Wrong requests to the token endpoint: the errors of RFC 6749, and no session or token is lost."""

import base64
import json
from urllib.parse import urlencode

import httpx2
import pytest

from authmint_service.change_feed import ChangeKind
from tests.service.conftest import ISSUER, PASSWORD, Service, StartService

pytestmark = pytest.mark.anyio

FORM_TYPE = "application/x-www-form-urlencoded"


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
async def test_the_token_endpoint_accepts_post_alone(service: Service, method: str) -> None:
    answer = await service.http.request(method, "/token?grant_type=password")
    assert (405, "POST") == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize(
    "name", ["grant_type", "username", "password", "client_id", "scope", "resource", "refresh_token", "foo"]
)
async def test_a_repeated_parameter_is_refused(service: Service, name: str) -> None:
    user, client = await service.add_account(), await service.add_client()
    form = {"grant_type": "password", "client_id": client.client_id, "username": user.username, "password": PASSWORD}
    pairs = [*form.items(), (name, form.get(name, "x")), (name, form.get(name, "x"))]
    body = urlencode(pairs)
    answer = await service.http.post("/token", content=body, headers={"Content-Type": FORM_TYPE})
    assert (400, "invalid_request") == error_of(answer)


async def test_an_empty_parameter_counts_as_omitted_and_an_unknown_one_is_ignored(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    plain = await service.sign_in(client, user)
    answer = await service.sign_in(client, user, scope="", resource="", foo="1", client_secret="")
    assert (200, plain.json()["scope"]) == (answer.status_code, answer.json()["scope"])


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "text/plain", "multipart/form-data; boundary=x", f"{FORM_TYPE}; charset=utf-16", "x", "/",
     FORM_TYPE + ";" + "a" * 65536],
)  # fmt: skip
async def test_another_content_type_is_refused(service: Service, content_type: str) -> None:
    answer = await service.http.post("/token", content=b"grant_type=password", headers={"Content-Type": content_type})
    assert (400, "invalid_request") == error_of(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=password&x=" + b"a" * 40_000, b"&".join(b"f%d=1" % number for number in range(100)), b"grant_type=\xff",
        b"username=%ff", b"scope=a%00b", b"%00=1", "grant_type=pässword".encode(), b"x=" + b"%00" * 10_000,
    ],
)  # fmt: skip
async def test_a_body_that_is_too_large_or_no_text_is_refused(service: Service, body: bytes) -> None:
    answer = await service.http.post("/token", content=body, headers={"Content-Type": FORM_TYPE})
    assert (400, "invalid_request") == error_of(answer)


async def test_a_missing_parameter_is_named(service: Service) -> None:
    client = await service.add_client()
    known = {"grant_type": "password", "client_id": client.client_id, "username": "someone", "password": "x"}
    for name, error in {"grant_type": "invalid_request", "username": "invalid_request", "password": "invalid_request"}.items():
        answer = await service.token(**{key: value for key, value in known.items() if key != name})
        assert (400, error) == error_of(answer)
        assert name in answer.json()["error_description"]
    answer = await service.token(grant_type="refresh_token", client_id=client.client_id)
    assert (400, "invalid_request") == error_of(answer)


async def test_a_client_that_is_unknown_wrong_or_disabled_gets_invalid_client(service: Service, secret: str) -> None:
    robot, spa = await service.add_client(secret), await service.add_client()
    disabled = await service.add_client(secret, enabled=False)
    form = {"grant_type": "client_credentials"}
    wrong: list[dict[str, str]] = [
        {},
        {"client_id": "nobody"},
        {"client_id": robot.client_id},
        {"client_id": robot.client_id, "client_secret": secret + "x"},
        {"client_id": spa.client_id, "client_secret": secret},
        {"client_id": disabled.client_id, "client_secret": secret},
        {"client_id": "a" * 1000},
        {"client_id": "é"},
    ]
    for credentials in wrong:
        answer = await service.token(**form, **credentials)
        assert (401, "invalid_client") == error_of(answer)
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
    for header in (basic(robot.client_id, "x"), basic("nobody", secret), basic("", secret), {"Authorization": "Basic !"},
                   {"Authorization": "Basic"}, {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
                   basic("a%00b", "x")):  # fmt: skip
        answer = await service.http.post("/token", data=form, headers=header)
        assert (401, "invalid_client") == error_of(answer)
        assert answer.headers["www-authenticate"].startswith("Basic realm=")


async def test_two_ways_of_authentication_at_once_are_refused(service: Service, secret: str) -> None:
    robot = await service.add_client(secret)
    both = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    answer = await service.http.post("/token", data=both, auth=(robot.client_id, secret))
    assert (400, "invalid_request") == error_of(answer)
    other = {"grant_type": "client_credentials", "client_id": "other"}
    answer = await service.http.post("/token", data=other, auth=(robot.client_id, secret))
    assert (400, "invalid_request") == error_of(answer)


async def test_a_public_client_may_send_its_name_with_an_empty_secret_in_basic(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    form = {"grant_type": "password", "username": user.username, "password": PASSWORD}
    answer = await service.http.post("/token", data=form, headers=basic(client.client_id, ""))
    assert 200 == answer.status_code


async def test_credentials_in_basic_are_form_decoded(service: Service) -> None:
    secret = "p%C3%A4ss+w/o:r=d&" * 3
    robot = await service.add_client("päss w/o:r=d&" * 3)
    answer = await service.http.post(
        "/token", data={"grant_type": "client_credentials"}, headers=basic(robot.client_id, secret)
    )
    assert 200 == answer.status_code


@pytest.mark.parametrize("allowed", [frozenset(), {"password"}, {"refresh_token"}, {"client_credentials"}])
async def test_a_client_uses_only_the_grants_on_its_list(service: Service, secret: str, allowed: frozenset[str]) -> None:
    user = await service.add_account()
    client = await service.add_client(secret, grants=frozenset(allowed))
    forms = {
        "password": {"username": user.username, "password": PASSWORD},
        "refresh_token": {"refresh_token": "amrt_x"},
        "client_credentials": {},
    }
    for grant, form in forms.items():
        answer = await service.token(grant_type=grant, client_id=client.client_id, client_secret=secret, **form)
        is_refused = answer.status_code == 400 and answer.json()["error"] == "unauthorized_client"
        assert (grant not in allowed) == is_refused


async def test_an_unknown_grant_is_unsupported(service: Service) -> None:
    client = await service.add_client()
    for grant in ("authorization_code", "Password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "a" * 3000, "\u202e"):
        answer = await service.token(grant_type=grant, client_id=client.client_id)
        assert (400, "unsupported_grant_type") == error_of(answer)


async def test_a_client_without_the_refresh_grant_gets_no_refresh_token(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client(grants=frozenset({"password"}))
    assert "refresh_token" not in (await service.sign_in(client, user)).json()


async def test_the_scope_is_narrowed_to_what_the_client_may_have(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    for asked, granted in {
        "orders:read": "orders:read",
        "orders:read admin": "orders:read",
        "orders:write orders:read": "orders:read orders:write",
    }.items():
        answer = await service.sign_in(client, user, scope=asked)
        assert (200, granted) == (answer.status_code, answer.json()["scope"])


@pytest.mark.parametrize("scope", ["admin", "orders:read  orders:write", " orders:read", 'a"b', "ä", "a\\b", "a\tb"])
async def test_a_scope_that_is_malformed_or_not_for_this_client_is_invalid_scope(service: Service, scope: str) -> None:
    user, client = await service.add_account(), await service.add_client()
    assert (400, "invalid_scope") == error_of(await service.sign_in(client, user, scope=scope))


async def test_a_resource_chooses_one_audience_and_a_foreign_one_is_invalid_target(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    assert 200 == (await service.sign_in(client, user, resource=ISSUER)).status_code
    for resource in ("payments", "order", "orders/", "ORDERS"):
        assert (400, "invalid_target") == error_of(await service.sign_in(client, user, resource=resource))


async def test_every_answer_of_the_token_endpoint_forbids_caching(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    for answer in (
        await service.sign_in(client, user),
        await service.sign_in(client, user, password="wrong"),
        await service.token(),
        await service.http.post("/token", content=b"{}", headers={"Content-Type": "application/json"}),
    ):
        assert "no-store" == answer.headers["cache-control"]


async def test_error_bodies_have_the_members_of_rfc_6749_and_ascii_without_quotes(service: Service) -> None:
    answer = await service.token(grant_type="x", client_id='"<script>\\')
    assert {"error", "error_description"} == set(answer.json())
    assert answer.json()["error_description"].isascii()
    assert not set(answer.json()["error_description"]) & set('"\\')
    assert "<script" not in answer.text


async def test_the_host_header_changes_nothing(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    plain = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    for forged in (
        {"Host": "evil.example"}, {"Host": "[2001:db8::1]:80"}, {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example"}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Prefix": "/evil"}, {"Host": ""},
        {"X-Original-Url": "/evil"},
    ):  # fmt: skip
        assert plain == (await service.http.get("/.well-known/oauth-authorization-server", headers=forged)).json()
        form = {"grant_type": "password", "client_id": client.client_id, "username": user.username, "password": PASSWORD}
        answer = await service.http.post("/token", data=form, headers=forged)
        assert 200 == answer.status_code
        claims = json.loads(base64.urlsafe_b64decode(answer.json()["access_token"].split(".")[1] + "=="))
        assert ISSUER == claims["iss"]
        assert "evil" not in str(claims)


async def test_a_client_is_read_from_the_database_once_until_it_is_changed(start_service: StartService, secret: str) -> None:
    service = await start_service()
    robot = await service.add_client(secret)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    assert 200 == (await service.token(**form)).status_code
    await service.database.execute("UPDATE authmint.clients SET enabled = false WHERE client_id = $1", robot.client_id)
    service.clock.now += 3600
    assert 200 == (await service.token(**form)).status_code
    await service.change(ChangeKind.CLIENT, robot.client_id, "SELECT 1")
    assert 401 == (await service.token(**form)).status_code
