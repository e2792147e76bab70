"""A refused request is told which field breaks which rule, and never what was sent: every parameter, in every wrong way."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from authmint_service.clients import new_client_secret
from authmint_service.endpoints.responses import install_error_handlers
from authmint_service.sentences import RULES
from tests.service.conftest import PASSWORD, Service, open_http
from tests.service.devices import sign_in
from tests.service.test_admin_sessions import administrator

pytestmark = pytest.mark.anyio

ID = "00000000-0000-4000-8000-000000000000"
CANARY = "canary"
FORMS = {
    ("post", "/token"): "TokenRequest",
    ("post", "/revoke"): "RevocationRequest",
    ("post", "/introspect"): "IntrospectionRequest",
    ("post", "/account/v1/sessions/revoke-others"): "OtherSessionsRevocation",
    ("put", "/account/v1/password"): "PasswordChange",
}
PATHS = [
    ("delete", "/account/v1/sessions/{session_id}"), ("get", "/admin/v1/accounts/{account_id}/sessions"),
    ("delete", "/admin/v1/accounts/{account_id}/sessions"),
    ("delete", "/admin/v1/accounts/{account_id}/sessions/{session_id}"),
]  # fmt: skip
QUERIES = [("get", "/revocation-list"), ("get", "/account/v1/sessions")]
ANY_TEXT = {"token", "refresh_token"}
"""They may be any text: what is no token is refused as one, without a word about its form."""
CREDENTIALS = {"username", "password"}
"""With a NUL they are wrong, with the same response as all wrong credentials."""


def check_problem(answer: httpx2.Response, status: int, field: str, rule: str) -> None:
    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"]), answer.text
    problem = answer.json()
    (error,) = problem["errors"]
    assert {"field": field, "code": f"{field}_{rule}"} == {name: error[name] for name in ("field", "code")}
    assert {"field", "code", "detail"} == set(error)
    assert field in error["detail"]
    assert error["detail"] in problem["detail"]
    check_no_echo(answer)


def check_no_echo(answer: httpx2.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert CANARY not in f"{answer.text}{answer.headers!r}".lower()


async def test_every_operation_with_a_parameter_or_a_body_is_in_this_matrix(service: Service) -> None:
    document = service.app.openapi()
    found = {
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("parameters") or "requestBody" in operation
    }
    assert {*FORMS, *PATHS, *QUERIES} == found
    for (method, path), schema in FORMS.items():
        content = document["paths"][path][method]["requestBody"]["content"]["application/x-www-form-urlencoded"]
        assert content["schema"]["$ref"].endswith(f"/{schema}")


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_a_parameter_of_a_path_is_named(method: str, path: str, service: Service, secret: str) -> None:
    headers = await administrator(service, secret) if path.startswith("/admin") else (await sign_in(service)).bearer
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        for wrong in (CANARY, CANARY * 700, f"{CANARY}%00%07", "12", f"{ID}{CANARY}", "%F0%9F%A6%9C" + CANARY):
            known = {"account_id": ID, "session_id": ID} | {name: wrong}
            answer = await service.http.request(method.upper(), path.format(**known), headers=headers)
            check_problem(answer, 422, name, "not_a_uuid")


async def test_two_wrong_parameters_are_both_named(service: Service, secret: str) -> None:
    headers = await administrator(service, secret)
    answer = await service.http.delete("/admin/v1/accounts/canary/sessions/canary", headers=headers)
    assert ["account_id_not_a_uuid", "session_id_not_a_uuid"] == [error["code"] for error in answer.json()["errors"]]
    check_no_echo(answer)


@pytest.mark.parametrize("name", ["since", "wait"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("canary", "not_a_number"), ("", "not_a_number"), ("1.5", "not_a_number"), ("-1", "too_small"),
        ("9223372036854775808", "too_large"), ("99999999999999999999", "too_large"), (CANARY * 700, "not_a_number"),
        ("%00canary", "not_a_number"), ("1&{name}=2", "repeated"), ("9" * 5000, "not_a_number"), ("1e3", "not_a_number"),
    ],
)  # fmt: skip
async def test_a_parameter_of_a_query_is_named(name: str, value: str, rule: str, service: Service) -> None:
    query = f"{name}={value}".replace("{name}", name)
    check_problem(await service.http.get(f"/revocation-list?{query}"), 422, name, rule)


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("limit=canary", "limit", "not_a_number"), ("limit=0", "limit", "too_small"), ("limit=501", "limit", "too_large"),
        ("limit=1&limit=2", "limit", "repeated"), ("cursor=canary", "cursor", "invalid"), ("cursor=", "cursor", "invalid"),
        (f"cursor={CANARY * 700}", "cursor", "invalid"), (f"cursor={'A' * 32}%0A", "cursor", "invalid"),
        (f"cursor={'A' * 32}&cursor={'A' * 32}", "cursor", "repeated"),
    ],
)  # fmt: skip
async def test_a_parameter_of_a_page_is_named(query: str, field: str, rule: str, service: Service, secret: str) -> None:
    mine = await service.http.get(f"/account/v1/sessions?{query}", headers=(await sign_in(service)).bearer)
    check_problem(mine, 422, field, rule)
    admins = await administrator(service, secret)
    check_problem(await service.http.get(f"/admin/v1/accounts/{ID}/sessions?{query}", headers=admins), 422, field, rule)


def properties(service: Service, schema: str) -> list[str]:
    return [*service.app.openapi()["components"]["schemas"][schema]["properties"]]


def wrong_fields(name: str) -> Iterator[tuple[str, str]]:
    """Yield forms in which one parameter is wrong, and the rule that it breaks."""
    yield f"{name}={CANARY}&{name}={CANARY}", "repeated"
    if name in ANY_TEXT:
        return
    yield f"{name}={CANARY * 5000}", "too_long"
    yield f"{name}={CANARY}%FF", "invalid_characters"
    yield f"{name}={CANARY}\u00ff", "invalid_characters"
    if name not in CREDENTIALS:
        yield f"{name}={CANARY}%00", "invalid_characters"


@pytest.mark.parametrize(("method", "path"), FORMS)
async def test_a_parameter_of_a_form_is_named(method: str, path: str, service: Service) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    is_problem = path.startswith("/account")
    if is_problem:
        headers |= (await sign_in(service)).bearer
    for name in properties(service, FORMS[method, path]):
        for form, rule in wrong_fields(name):
            answer = await service.http.request(method.upper(), path, content=form.encode(), headers=headers)
            if is_problem:
                check_problem(answer, 400, name, rule)
            else:
                assert (400, "invalid_request") == (answer.status_code, answer.json()["error"])
                assert f"The parameter {RULES[rule].format(field=name)}" == answer.json()["error_description"]
                check_no_echo(answer)


@pytest.mark.parametrize(("method", "path"), FORMS)
async def test_a_name_that_the_client_made_up_is_not_repeated(method: str, path: str, service: Service) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if path.startswith("/account"):
        headers |= (await sign_in(service)).bearer
    for form in (f"{CANARY}=1&{CANARY}=2", f"{CANARY}=%00", f"{CANARY}=%FF", f"{CANARY}={'x' * 30_000}", f"{CANARY}%FF=1"):
        answer = await service.http.request(method.upper(), path, content=form.encode(), headers=headers)
        assert 400 == answer.status_code
        assert "errors" not in answer.json()
        check_no_echo(answer)


async def test_a_missing_parameter_is_named(service: Service, secret: str) -> None:
    other = {"unknown": CANARY}
    public, confidential = await service.add_client(), await service.add_client(secret)
    person, known = {"client_id": public.client_id}, {"client_id": confidential.client_id, "client_secret": secret}
    for path, form, name in (
        ("/token", other, "client_id"), ("/token", person, "grant_type"), ("/revoke", person, "token"),
        ("/token", person | {"grant_type": "password", "password": CANARY}, "username"),
        ("/token", person | {"grant_type": "password", "username": CANARY}, "password"),
        ("/token", person | {"grant_type": "refresh_token"}, "refresh_token"), ("/introspect", known, "token"),
        ("/revoke", other, "client_id"), ("/introspect", other, "client_id"),
    ):  # fmt: skip
        answer = await service.http.post(path, data=form)
        assert answer.status_code in {400, 401}
        assert f"{name} is missing" in answer.json()["error_description"]
        check_no_echo(answer)
    here = await sign_in(service)
    answer = await service.http.put("/account/v1/password", data={"new_password": CANARY}, headers=here.bearer)
    check_problem(answer, 422, "current_password", "missing")
    proof = {"refresh_token": CANARY}
    answer = await service.http.post("/account/v1/sessions/revoke-others", data=proof, headers=here.bearer)
    assert ["refresh_token_invalid"] == [error["code"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("", "password_too_short"), (CANARY, "password_too_short"), (CANARY * 100, "password_too_long"),
        (f"{CANARY}\x07 of seven parrots", "password_invalid_characters"), ("authmint authmint", "password_too_similar"),
        ("abababababababab", "password_repetitive"),
    ],
)  # fmt: skip
async def test_a_refused_password_is_named_with_its_rule(new: str, code: str, service: Service) -> None:
    here = await sign_in(service)
    form = {"current_password": PASSWORD, "new_password": new}
    answer = await service.http.put("/account/v1/password", data=form, headers=here.bearer)
    (error,) = answer.json()["errors"]
    assert (422, code, "new_password", code) == (answer.status_code, answer.json()["code"], error["field"], error["code"])
    assert error["detail"] == answer.json()["detail"]
    check_no_echo(answer)


async def test_a_wrong_value_is_not_repeated_by_the_endpoints_of_oauth(service: Service) -> None:
    secret = new_client_secret()
    client = await service.add_client(secret)
    good = {"client_id": client.client_id, "client_secret": secret, "grant_type": "client_credentials"}
    for name in properties(service, "TokenRequest"):
        answer = await service.http.post("/token", data=good | {name: CANARY})
        check_no_echo(answer)
        if name in {"scope", "resource", "grant_type", "client_id", "client_secret"}:
            assert answer.status_code in {400, 401}, name
    for path in (f"/revoke?{CANARY}", f"/introspect?token={CANARY}"):
        check_no_echo(await service.http.post(path, data=good | {"token": CANARY}))


class Address(BaseModel):
    """A member of a body."""

    city: Annotated[str, Field(min_length=2, max_length=5)]


class Order(BaseModel):
    """A JSON body, which later routes have."""

    model_config = ConfigDict(extra="forbid")

    quantity: Annotated[int, Field(ge=1, le=9)]
    addresses: list[Address]
    kind: Annotated[str, Field(pattern="^[a-z]$")] = "a"


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"addresses": []}, "quantity", "quantity_missing"),
        ({"quantity": CANARY, "addresses": []}, "quantity", "quantity_not_a_number"),
        ({"quantity": 0, "addresses": []}, "quantity", "quantity_too_small"),
        ({"quantity": 10, "addresses": []}, "quantity", "quantity_too_large"),
        ({"quantity": 1, "addresses": CANARY}, "addresses", "addresses_invalid"),
        ({"quantity": 1, "addresses": [{"city": CANARY * 9}]}, "addresses.0.city", "city_too_long"),
        ({"quantity": 1, "addresses": [{"city": "x"}]}, "addresses.0.city", "city_too_short"),
        ({"quantity": 1, "addresses": [], "kind": CANARY}, "kind", "kind_invalid"),
        ({"quantity": 1, "addresses": [], CANARY: 1}, "body", "body_unknown_member"),
        (CANARY, "body", "body_invalid"),
    ],
)  # fmt: skip
async def test_a_member_of_a_json_body_is_named(body: Any, field: str, code: str) -> None:
    app = FastAPI()

    @app.post("/orders")
    async def add_order(order: Order) -> int:
        return order.quantity

    install_error_handlers(app, [])
    async with open_http(app) as http:
        answer = await http.post("/orders", json=body)
    (error,) = answer.json()["errors"]
    assert (422, field, code) == (answer.status_code, error["field"], error["code"])
    assert quote(CANARY) not in answer.text


async def test_json_that_cannot_be_read_is_an_error_of_the_body() -> None:
    app = FastAPI()

    @app.post("/orders")
    async def add_order(order: Order) -> int:
        return order.quantity

    install_error_handlers(app, [])
    async with open_http(app) as http:
        answer = await http.post("/orders", content=f'{{"{CANARY}', headers={"Content-Type": "application/json"})
    assert 422 == answer.status_code
    assert ["body_invalid"] == [error["code"] for error in answer.json()["errors"]]
    check_no_echo(answer)


async def test_openapi_describes_the_errors_of_fields(service: Service) -> None:
    errors = service.app.openapi()["components"]["schemas"]["Problem"]["properties"]["errors"]
    assert {"field", "code", "detail"} == set(errors["items"]["required"])
