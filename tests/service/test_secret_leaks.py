"""Marked secrets in every field of every route, errors included: no log, response, metric or row of a table has one."""

import base64
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest

from authmint.jose import decode_base64url
from authmint_service.accounts import AccountStore
from authmint_service.grants import offered_grants
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.routes import Endpoint, endpoints_of

pytestmark = pytest.mark.anyio

CONTENT_TYPES = (
    "application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-7", "",
)  # fmt: skip


class Canaries:
    """Makes distinct marks that all begin with the same random text."""

    def __init__(self) -> None:
        self.beginning, self._made = f"canary{secrets.token_hex(8)}x", 0

    def __call__(self) -> str:
        self._made += 1
        return f"{self.beginning}{self._made}"


def fields_of(schema: dict[str, Any], endpoint: Endpoint) -> list[str]:
    """Return the field names of the form of a route, from its OpenAPI document."""
    operation = schema["paths"].get(endpoint.path, {}).get(endpoint.method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {})
    forms = [schema["components"]["schemas"][form["schema"]["$ref"].rpartition("/")[2]] for form in content.values()]
    return [name for form in forms for name in form["properties"]]


def bodies(canary: Canaries, fields: list[str]) -> Iterator[str]:
    """Yield bodies with a mark as each field alone, as all of them, beside a known grant, as a name, and in no form."""
    names = [*fields, "unknown"]
    yield from (f"{name}={canary()}" for name in names)
    yield "&".join(f"{name}={canary()}" for name in names)
    yield from (
        "&".join(f"{name}={grant if name == 'grant_type' else canary()}" for name in names) for grant in offered_grants().names
    )
    yield f"{canary()}={canary()}&{canary()}"
    yield f'{{"password": "{canary()}", "{canary()}": [NaN, "{canary()}"]}}'
    yield f"password={canary()}&password={canary()}&x=%ff"


def headers_with(canary: Canaries) -> Iterator[dict[str, str]]:
    """Yield headers with a mark in each field that the service might read, and in an unknown one."""
    yield {"Authorization": f"Bearer {canary()}"}
    yield {"Authorization": f"Bearer amrt_{canary()}.{canary()}.{canary()}"}
    yield {"Authorization": canary()}
    yield {"Authorization": "Basic " + base64.b64encode(f"{canary()}:{canary()}".encode()).decode()}
    yield {"Cookie": f"{canary()}={canary()}; __Host-authmint-refresh-x={canary()}", "Origin": f"https://{canary()}.example"}
    yield {"User-Agent": canary(), "Referer": canary(), "X-Request-ID": canary(), "If-None-Match": canary(), canary(): "x"}
    yield {"Content-Type": canary()}
    yield {"Traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", "Tracestate": canary(), "Baggage": canary()}


async def request_everything(
    service: Service, canary: Canaries, fields: dict[Endpoint, list[str]], sign_in: Callable[[], Awaitable[str]]
) -> list[httpx2.Response]:
    """Send all of the above to all routes, without a token and with one that is good until one of the requests revokes it."""
    answers = []
    for endpoint, names in fields.items():
        bearer = await sign_in()
        path = endpoint.filled(account_id=canary(), session_id=canary())
        for number, headers in enumerate([{}, {"Authorization": f"Bearer {bearer}"}, *headers_with(canary)]):
            answers.append(await service.http.request(endpoint.method, f"{path}?access_token={canary()}", headers=headers))
            if number < 2 and endpoint.method in {"POST", "PUT"}:
                for body in bodies(canary, names):
                    for content_type in CONTENT_TYPES:
                        sent = headers | {"Content-Type": content_type}
                        answers.append(
                            await service.http.request(endpoint.method, endpoint.filled(), content=body, headers=sent)
                        )
    return answers


async def dump(service: Service) -> str:
    """Return every row of every table as text; bytes are hexadecimal there."""
    tables = await service.database.fetch_all("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'authmint'")
    assert len(tables) > 3
    rows = [row for (name,) in tables for row in await service.database.fetch_all(f"SELECT t::text FROM authmint.{name} t")]
    return "\n".join(str(row[0]) for row in rows)


def forms_of(value: str) -> set[str]:
    """Return how a secret might be written: as it is, or as bytes in hexadecimal."""
    return {value, value.encode().hex()}


@pytest.mark.slow
async def test_no_canary_and_no_secret_is_found_anywhere(
    start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, canary = await start_service(cors_origins="https://app.example", password_hash_queue=1000), Canaries()
    schema = (await service.http.get("/openapi.json")).json()
    fields = {endpoint: fields_of(schema, endpoint) for endpoint in endpoints_of(service.app)}
    assert {"/token", "/revoke", "/introspect", "/account/v1/password", "/account/v1/sessions/revoke-others"} == {
        endpoint.path for endpoint, names in fields.items() if names
    }
    user, spa, robot = await service.add_account(), await service.add_client(), await service.add_client(secret)
    signed_in = (await service.sign_in(spa, user)).json()
    as_service = (await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)).json()
    refreshed = (await service.refresh(spa, signed_in["refresh_token"])).json()

    async def sign_in() -> str:
        return str((await service.sign_in(spa, user)).json()["access_token"])

    answers = await request_everything(service, canary, fields, sign_in)
    # Well-formed and wrong: the code behind the forms gets the marks as well.
    for form in (
        {"grant_type": "password", "client_id": spa.client_id, "username": canary(), "password": canary()},
        {"grant_type": "password", "client_id": spa.client_id, "username": user.username, "password": canary()},
        {"grant_type": "password", "client_id": spa.client_id, "username": canary(), "password": canary(), "scope": canary()},
        {"grant_type": "refresh_token", "client_id": spa.client_id, "refresh_token": canary(), "resource": canary()},
        {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": canary()},
    ):
        answers.append(await service.token(**form))
    for kind in (RuntimeError, OSError, ValueError):
        answers.append(await failing(service, spa.client_id, canary, monkeypatch, kind))
    answers.append(await failing_in_the_database(service, spa.client_id, canary))
    altered = {"Authorization": f"Bearer {signed_in['access_token']}x"}
    answers.append(await service.http.get("/account/v1", headers=altered))
    assert 500 in {answer.status_code for answer in answers}
    assert 422 in {answer.status_code for answer in answers}
    metrics = (await service.internal("/metrics")).text
    output = capfd.readouterr()
    responses = "\n".join(f"{answer.headers} {answer.text}" for answer in answers)
    rows = await dump(service)
    tokens = [signed_in["access_token"], as_service["access_token"], signed_in["refresh_token"], refreshed["refresh_token"]]
    for mark in [canary.beginning, PASSWORD, secret, *tokens]:
        for form_of_it in forms_of(mark):
            for place, text in {"responses": responses, "metrics": metrics, "database": rows}.items():
                assert form_of_it not in text, (place, form_of_it)
    # The id in a path is no secret, and the log has the path of a request.
    logged = re.sub(r'"path":"[^"]*"', "", output.out + output.err)
    assert {"token.issued", "token.refused", "request.refused", "error.unexpected", "request.failed"} <= events_of(output.err)
    for mark in [canary.beginning, PASSWORD, secret, user.password_hash, *tokens]:
        assert mark not in logged, mark
    # Nor the part that proves a token: its signature, or the MAC of a refresh token.
    for token in tokens:
        part = token.split(".")[-1] if "." in token else decode_base64url(token.removeprefix("amrt_")[:-6])[-32:].hex()
        assert part not in rows + logged + metrics + responses


async def failing(
    service: Service, client_id: str, canary: Canaries, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> httpx2.Response:
    """Return the response to a sign-in in which a part fails with an error text that holds the password, as libraries do."""
    password = canary()

    async def fail(*_: object) -> None:
        raise kind(f"cannot find {password!r}") from ValueError(password)

    with monkeypatch.context() as patch:
        patch.setattr(AccountStore, "find_by_name", fail)
        return await service.token(grant_type="password", client_id=client_id, username=canary(), password=password)


async def failing_in_the_database(service: Service, client_id: str, canary: Canaries) -> httpx2.Response:
    """Return the response to a sign-in while a table is missing: the database then repeats the statement in its error."""
    await service.database.execute("ALTER TABLE authmint.accounts RENAME TO hidden_accounts")
    try:
        return await service.token(grant_type="password", client_id=client_id, username=canary(), password=canary())
    finally:
        await service.database.execute("ALTER TABLE authmint.hidden_accounts RENAME TO accounts")


def events_of(log: str) -> set[str]:
    return {json.loads(line)["event"] for line in log.splitlines()}


BEGINNING = 10
"""Characters of a secret that are too many for a log; the prefixes `amcs_` and `amrt_` are five of them."""


async def test_of_a_secret_without_a_dot_not_even_the_beginning_is_logged(
    service: Service, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    user, spa, robot = await service.add_account(), await service.add_client(), await service.add_client(secret)
    refresh_token = (await service.sign_in(spa, user)).json()["refresh_token"]
    credentials = {"client_id": robot.client_id, "client_secret": secret}
    bare = secrets.token_urlsafe(32)
    for token in (refresh_token, secret, bare):
        assert "." not in token
        await service.http.get("/account/v1", headers={"Authorization": f"Bearer {token}"})
        await service.http.get("/account/v1", headers={"Authorization": token})
        await service.http.post("/revoke", data=credentials | {"token": token})
        await service.http.post("/introspect", data=credentials | {"token": token})
        await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=token)
        await service.refresh(spa, token)
        await service.sign_in(spa, user, token)
    output = capfd.readouterr()
    assert {"token.issued", "token.refused", "request.refused"} <= events_of(output.err)
    for token in (refresh_token, secret, bare, PASSWORD):
        assert token[:BEGINNING] not in output.out + output.err
