"""Marked secrets in every field of every route, also where it fails: no log, answer, figure or row of a table has one."""

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
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.routes import Endpoint, doors_of

pytestmark = pytest.mark.anyio

CONTENT_TYPES = (
    "application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-7", "",
)  # fmt: skip


class Canaries:
    """Makes marks, each another, which all begin in the same random way."""

    def __init__(self) -> None:
        self.beginning, self._made = f"canary{secrets.token_hex(8)}x", 0

    def __call__(self) -> str:
        self._made += 1
        return f"{self.beginning}{self._made}"


def fields_of(schema: dict[str, Any], door: Endpoint) -> list[str]:
    """The names of the form of a route, from its OpenAPI document."""
    operation = schema["paths"].get(door.path, {}).get(door.method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {})
    return [name for form in content.values() for name in form["schema"]["properties"]]


def bodies(canary: Canaries, fields: list[str]) -> Iterator[str]:
    """A mark as each field alone, as all of them, beside a known grant, as a name, and as no form at all."""
    names = [*fields, "unknown"]
    yield from (f"{name}={canary()}" for name in names)
    yield "&".join(f"{name}={canary()}" for name in names)
    yield from (
        "&".join(f"{name}={grant if name == 'grant_type' else canary()}" for name in names)
        for grant in ("password", "refresh_token", "client_credentials")
    )
    yield f"{canary()}={canary()}&{canary()}"
    yield f'{{"password": "{canary()}", "{canary()}": [NaN, "{canary()}"]}}'
    yield f"password={canary()}&password={canary()}&x=%ff"


def headers_with(canary: Canaries) -> Iterator[dict[str, str]]:
    """A mark in each header that anyone here might read, and in one that nobody knows."""
    yield {"Authorization": f"Bearer {canary()}"}
    yield {"Authorization": f"Bearer amrt_{canary()}.{canary()}.{canary()}"}
    yield {"Authorization": canary()}
    yield {"Authorization": "Basic " + base64.b64encode(f"{canary()}:{canary()}".encode()).decode()}
    yield {"Cookie": f"{canary()}={canary()}; __Host-authmint-refresh-x={canary()}", "Origin": f"https://{canary()}.example"}
    yield {"User-Agent": canary(), "Referer": canary(), "X-Request-ID": canary(), "If-None-Match": canary(), canary(): "x"}
    yield {"Content-Type": canary()}
    yield {"Traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", "Tracestate": canary(), "Baggage": canary()}


async def ask_everything(
    service: Service, canary: Canaries, fields: dict[Endpoint, list[str]], sign_in: Callable[[], Awaitable[str]]
) -> list[httpx2.Response]:
    """All of the above at all routes, without a token and with one that is good until somebody signs out with it."""
    answers = []
    for door, names in fields.items():
        bearer = await sign_in()
        path = door.filled(account_id=canary(), session_id=canary())
        for number, headers in enumerate([{}, {"Authorization": f"Bearer {bearer}"}, *headers_with(canary)]):
            answers.append(await service.http.request(door.method, f"{path}?access_token={canary()}", headers=headers))
            if number < 2 and door.method in {"POST", "PUT"}:
                for body in bodies(canary, names):
                    for content_type in CONTENT_TYPES:
                        sent = headers | {"Content-Type": content_type}
                        answers.append(await service.http.request(door.method, door.filled(), content=body, headers=sent))
    return answers


async def dump(service: Service) -> str:
    """Every row of every table as text; bytes are hexadecimal there."""
    tables = await service.database.fetch_all("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 3
    rows = [row for (name,) in tables for row in await service.database.fetch_all(f"SELECT t::text FROM {name} t")]
    return "\n".join(str(row[0]) for row in rows)


def forms_of(value: str) -> set[str]:
    """How a secret might be written: as it is, or as bytes in hexadecimal."""
    return {value, value.encode().hex()}


@pytest.mark.slow
async def test_no_canary_and_no_secret_is_found_anywhere(
    start_service: StartService, secret: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, canary = await start_service(cors_origins="https://app.example", password_hash_queue=1000), Canaries()
    schema = (await service.http.get("/openapi.json")).json()
    fields = {door: fields_of(schema, door) for door in doors_of(service.app)}
    assert {"/token", "/revoke", "/introspect", "/account/v1/password"} == {
        door.path for door, names in fields.items() if names
    }
    user, spa, robot = await service.add_user(), await service.add_client(), await service.add_client(secret)
    signed_in = (await service.sign_in(spa, user)).json()
    machine = (await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)).json()
    refreshed = (await service.refresh(spa, signed_in["refresh_token"])).json()

    async def sign_in() -> str:
        return str((await service.sign_in(spa, user)).json()["access_token"])

    answers = await ask_everything(service, canary, fields, sign_in)
    # What is well-formed and wrong: the parts behind the forms see the marks as well.
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
    figures = (await service.http.get("/metrics")).text
    said = capfd.readouterr()
    said_to_clients = "\n".join(f"{answer.headers} {answer.text}" for answer in answers)
    kept = await dump(service)
    tokens = [signed_in["access_token"], machine["access_token"], signed_in["refresh_token"], refreshed["refresh_token"]]
    for mark in [canary.beginning, PASSWORD, secret, *tokens]:
        for form_of_it in forms_of(mark):
            for place, text in {"answers": said_to_clients, "figures": figures, "database": kept}.items():
                assert form_of_it not in text, (place, form_of_it)
    # The id in a path is no secret, and the log says which path was asked for.
    logged = re.sub(r'"path":"[^"]*"', "", said.out + said.err)
    assert {"token.issued", "token.refused", "request.refused", "error.unexpected", "request.failed"} <= events_of(said.err)
    for mark in [canary.beginning, PASSWORD, secret, user.password_hash, *tokens]:
        assert mark not in logged, mark
    # Nor what a token could be told by: its signature, or the seal of a refresh token.
    for token in tokens:
        part = token.split(".")[-1] if "." in token else decode_base64url(token[4:-6])[-32:].hex()
        assert part not in kept + logged + figures + said_to_clients


async def failing(
    service: Service, client_id: str, canary: Canaries, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> httpx2.Response:
    """The answer to a sign-in in which a part fails with a text that holds what was sent, as libraries like to."""
    password = canary()

    async def fail(*_: object) -> None:
        raise kind(f"cannot look for {password!r}") from ValueError(password)

    with monkeypatch.context() as patch:
        patch.setattr(AccountStore, "find_by_name", fail)
        return await service.token(grant_type="password", client_id=client_id, username=canary(), password=password)


async def failing_in_the_database(service: Service, client_id: str, canary: Canaries) -> httpx2.Response:
    """The answer to a sign-in while there is no table of users: the database then repeats what it was asked."""
    await service.database.execute("ALTER TABLE users RENAME TO hidden_users")
    try:
        return await service.token(grant_type="password", client_id=client_id, username=canary(), password=canary())
    finally:
        await service.database.execute("ALTER TABLE hidden_users RENAME TO users")


def events_of(log: str) -> set[str]:
    return {json.loads(line)["event"] for line in log.splitlines()}


BEGINNING = 10
"""Characters of a secret that are too many for a log; `amcs_` and `amrt_` are four of them."""


async def test_of_a_secret_without_a_dot_not_even_the_beginning_is_logged(
    service: Service, secret: str, capfd: pytest.CaptureFixture[str]
) -> None:
    user, spa, robot = await service.add_user(), await service.add_client(), await service.add_client(secret)
    refresh_token = (await service.sign_in(spa, user)).json()["refresh_token"]
    machine = {"client_id": robot.client_id, "client_secret": secret}
    bare = secrets.token_urlsafe(32)
    for token in (refresh_token, secret, bare):
        assert "." not in token
        await service.http.get("/account/v1", headers={"Authorization": f"Bearer {token}"})
        await service.http.get("/account/v1", headers={"Authorization": token})
        await service.http.post("/revoke", data=machine | {"token": token})
        await service.http.post("/introspect", data=machine | {"token": token})
        await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=token)
        await service.refresh(spa, token)
        await service.sign_in(spa, user, token)
    said = capfd.readouterr()
    assert {"token.issued", "token.refused", "request.refused"} <= events_of(said.err)
    for token in (refresh_token, secret, bare, PASSWORD):
        assert token[:BEGINNING] not in said.out + said.err
