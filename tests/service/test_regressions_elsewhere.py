"""Bugs of other projects that this one must not have: one test for each that no other file covers.

Sources are named where they are public: numbers of repositories' issues, or the advisory's own.
"""

import base64
import json
from urllib.parse import quote

import pytest
from passlib.hash import bcrypt

from authmint.jose import decode_base64url
from authmint_service.accounts import Account
from authmint_service.endpoints.oauth.openapi import grant_schemas
from authmint_service.errors import AlreadyExists
from authmint_service.grants import offered_grants
from tests.service.asgi import ask
from tests.service.conftest import PASSWORD, Service
from tests.service.routes import endpoints_of

pytestmark = pytest.mark.anyio

FORM_TYPE = (b"content-type", b"application/x-www-form-urlencoded")
FORMS = {
    "POST /token": tuple(grant_schemas(offered_grants())["TokenRequest"]["properties"]),
    "POST /revoke": ("client_id", "client_secret", "token", "token_type_hint"),
    "POST /introspect": ("client_id", "client_secret", "token", "token_type_hint"),
    "PUT /account/v1/password": ("current_password", "new_password"),
    "POST /account/v1/sessions/revoke-others": ("refresh_token",),
}
OPAQUE = {"refresh_token", "token"}
"""Their values may be any text: what is no token is refused by its reader."""


async def bearer_of(service: Service) -> tuple[bytes, bytes]:
    user, client = await service.add_account(), await service.add_client()
    return b"authorization", f"Bearer {(await service.sign_in(client, user)).json()['access_token']}".encode()


# pyca/bcrypt 1082, odysseus 3561, klangk 726: bcrypt takes 72 bytes, and some of its libraries raise beyond.
@pytest.mark.parametrize("kept_as", ["argon2", "bcrypt"])
@pytest.mark.parametrize("password", ["p" * 73, "🦜" * 19, "nul\0" + "p" * 20], ids=["73 bytes", "19 emoji", "NUL"])
async def test_a_password_that_bcrypt_cannot_take_is_a_wrong_password_and_no_server_error(
    service: Service, kept_as: str, password: str
) -> None:
    changes = {"password_hash": bcrypt.using(rounds=4).hash("p" * 72)} if kept_as == "bcrypt" else {}
    user, client = await service.add_account(**changes), await service.add_client()
    answer = await service.sign_in(client, user, password)
    assert (400, "invalid_grant") == (answer.status_code, answer.json()["error"])


# kitaru 927: PostgreSQL has no NUL, and a sign-in with one was a 500.
@pytest.mark.parametrize("nul", [b"%00", b"\0", b"a%00b"])
async def test_nul_in_any_field_of_any_form_is_refused(service: Service, secret: str, nul: bytes) -> None:
    spa, robot, bearer = await service.add_client(), await service.add_client(secret), await bearer_of(service)
    assert set(FORMS) == {str(endpoint) for endpoint in endpoints_of(service.app) if str(endpoint) in FORMS}
    for endpoint, names in FORMS.items():
        method, path = endpoint.split()
        others = {
            "POST /introspect": f"client_id={robot.client_id}&client_secret={secret}",
            "PUT /account/v1/password": f"current_password={quote(PASSWORD)}&new_password=three+brown+bears+on+a+hill",
        }.get(endpoint, f"client_id={spa.client_id}&grant_type=refresh_token&refresh_token=x&token=x")
        for name in (*names, "unknown"):
            fields = [field for field in others.split("&") if not field.startswith(f"{name}=")]
            body = "&".join(fields).encode() + b"&" + name.encode() + b"=" + nul
            headers = [FORM_TYPE, bearer] if "/account/" in path else [FORM_TYPE]
            answer = await ask(service.app, method, path, headers=headers, body=[body])
            expected = {200, 400} if name in OPAQUE else {400}
            assert answer.status in expected, (endpoint, name)


async def test_nul_in_a_path_a_query_or_a_header_of_any_route_is_no_server_error(service: Service, secret: str) -> None:
    bearer = await bearer_of(service)
    basic = b"Basic " + base64.b64encode(b"a\0b:c\0d")
    headers: list[list[tuple[bytes, bytes]]] = [
        [bearer, (name, b"a\0b")]
        for name in (
            b"host",
            b"user-agent",
            b"origin",
            b"cookie",
            b"if-none-match",
            b"x-request-id",
            b"traceparent",
            b"content-type",
        )
    ] + [[(b"authorization", value)] for value in (b"Bearer \0", b"Bearer a.\0.c", b"Basic \0", basic, b"\0")]
    for endpoint in endpoints_of(service.app):
        path = endpoint.filled(account_id="a\0b", session_id="\0")
        for query in (b"", b"a=%00", b"%00=a", b"wait=%00", b"wait=\0"):
            answer = await ask(service.app, endpoint.method, path, query=query, headers=[bearer])
            assert answer.status < 500, (str(endpoint), query)
        for given in headers:
            answer = await ask(service.app, endpoint.method, endpoint.filled(), headers=given)
            assert answer.status < 500, (str(endpoint), given)


# wasp 4698, bytebase 18943: two spellings of one name, and two accounts. docs/decisions/0001 says what is one name here.
@pytest.mark.parametrize(
    ("name", "other", "is_the_same"),
    [
        ("jose\u0301", "jos\u00e9", True), ("jos\u00e9", "JOSE\u0301", True), ("a+b", "a\uff0bb", True),
        ("alice", "ALICE", True), ("alice", "\uff21\uff2c\uff29\uff23\uff25", True), ("kate", "\u212aate", True),
        ("\u03c9", "\u2126", True), ("alice", "\u0430lice", False), ("strasse", "stra\u00dfe", False),
        ("inci", "\u0130nci", False), ("inci", "\u0131nci", False),
    ],
    ids=["decomposed", "decomposed, in capitals", "wide +", "capitals", "wide capitals", "sign of Kelvin", "sign of Ohm",
         "Cyrillic a", "sharp s", "dotted I", "dotless i"],
)  # fmt: skip
async def test_names_that_are_one_name_are_one_account_and_others_give_no_access_to_it(
    service: Service, name: str, other: str, *, is_the_same: bool
) -> None:
    unique = await service.database.fetch_value("SELECT replace(gen_random_uuid()::text, '-', '')")
    client = await service.add_client()
    owner = await service.add_account(name + unique)
    assert owner.id == await signed_in_as(service, client.client_id, name + unique)
    try:
        second: Account | None = await service.add_account(other + unique)
    except AlreadyExists:
        second = None
    assert is_the_same == (second is None)
    assert (second or owner).id == await signed_in_as(service, client.client_id, other + unique)


async def signed_in_as(service: Service, client_id: str, typed: str) -> str:
    """Return the subject of the account that signs in with this name, as it was typed."""
    answer = await service.token(grant_type="password", client_id=client_id, username=typed, password=PASSWORD)
    return str(json.loads(decode_base64url(answer.json()["access_token"].split(".")[1]))["sub"])


# CVE-2026-48710: a Host with a path in it changed what the framework took for the path, and checks by path were passed by.
async def test_whatever_the_host_says_a_protected_route_asks_for_a_token(service: Service) -> None:
    hosts, protected = (b"a/../livez?", b"auth.example/livez", b"auth.example#/livez", b"@", b"[", b"a b", b"\xff\xfe"), 0
    for endpoint in endpoints_of(service.app):
        method, path = endpoint.method, endpoint.filled()
        statuses = {(await ask(service.app, method, path, headers=[(b"host", host)])).status for host in hosts}
        assert {400} == statuses, str(endpoint)
        answer, without = [await ask(service.app, method, path, headers=[(b"host", host)]) for host in (b"auth.example", b"")]
        assert answer.status == without.status, str(endpoint)
        if path.startswith(("/account/", "/admin/")):
            assert 401 == answer.status, str(endpoint)
            protected += 1
    assert protected == 9


# CVE-2021-32677: a page of another site may send text/plain without asking first, and it was read as JSON.
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded+json"]
)
async def test_json_is_read_by_no_route_whatever_its_media_type(service: Service, content_type: str) -> None:
    user, client, bearer = await service.add_account(), await service.add_client(), await bearer_of(service)
    form = {
        "grant_type": "password",
        "client_id": client.client_id,
        "username": user.username,
        "password": PASSWORD,
        "token": "x",
    }
    passwords = {"current_password": PASSWORD, "new_password": "three brown bears on a hill"}
    for endpoint in FORMS:
        method, path = endpoint.split()
        is_protected = path.startswith("/account/")
        sent = json.dumps(passwords if "password" in path else form | {"token": "x"}).encode()
        headers = [(b"content-type", content_type.encode()), *([bearer] if is_protected else [])]
        answer = await ask(service.app, method, path, headers=headers, body=[sent])
        error = json.loads(answer.body)["code" if is_protected else "error"]
        assert (400, "invalid_request") == (answer.status, error), endpoint


# rhesis 2484, langflow 15038, opal 959: the framework's own 422 repeats what was sent.
async def test_a_422_repeats_nothing_that_was_sent(service: Service, secret: str) -> None:
    bearer, canary = await bearer_of(service), "canary-4711"
    administrator = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    issued = await service.token(grant_type="client_credentials", client_id=administrator.client_id, client_secret=secret)
    admins = (b"authorization", f"Bearer {issued.json()['access_token']}".encode())
    passwords = f"current_password={quote(PASSWORD)}&new_password={canary}".encode()
    answers = [
        await ask(service.app, "PUT", "/account/v1/password", headers=[FORM_TYPE, bearer], body=[passwords]),
        await ask(service.app, "GET", "/revocation-list", query=f"wait={canary}".encode()),
        await ask(service.app, "DELETE", f"/account/v1/sessions/{canary}", headers=[bearer]),
        await ask(service.app, "GET", f"/admin/v1/accounts/{canary}/sessions", headers=[admins]),
        await ask(service.app, "DELETE", f"/admin/v1/accounts/{canary}/sessions/{canary}", headers=[admins]),
    ]
    assert [422] * 5 == [answer.status for answer in answers]
    for answer in answers:
        assert canary.encode() not in answer.body
        assert PASSWORD.encode() not in answer.body


NO_NUMBER_OF_SECONDS = (
    "NaN", "nan", "Infinity", "-Infinity", "inf", "1e400", "-1", "11", "1.5", "0x1", "1__0", "true", "null", "[]", "{}",
    "9" * 5000, "1&wait=1",
)  # fmt: skip


# CVE-2021-29510, and the framework's 422, which fails itself when it repeats NaN.
async def test_infinity_and_other_text_that_is_no_number_is_refused_wherever_a_number_is_expected(
    service: Service, secret: str
) -> None:
    """`wait` is the only number in a request; ids are in paths, and no route reads JSON."""
    administrator = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    issued = await service.token(grant_type="client_credentials", client_id=administrator.client_id, client_secret=secret)
    admins = (b"authorization", f"Bearer {issued.json()['access_token']}".encode())
    for number in NO_NUMBER_OF_SECONDS:
        assert 422 == (await ask(service.app, "GET", "/revocation-list", query=f"wait={number}".encode())).status, number
        assert 422 == (await ask(service.app, "GET", f"/admin/v1/accounts/{number}/sessions", headers=[admins])).status, number
        for endpoint, names in FORMS.items():
            method, path = endpoint.split()
            sent = "{" + ", ".join(f'"{name}": {number}' for name in names) + "}"
            answer = await ask(
                service.app, method, path, headers=[(b"content-type", b"application/json")], body=[sent.encode()]
            )
            assert answer.status in {400, 401}, (endpoint, number)
