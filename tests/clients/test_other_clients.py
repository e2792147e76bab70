"""Clients and validators of other makers, unmodified, at one service: each program does what its row of the page says."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.issuer import Issuer, serving
from tests.clients.page import HERE, programs, read_rows

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300), pytest.mark.xdist_group("other clients")]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    assert (HERE / ".venv").exists(), "Run `make test-tools` first."
    assert (HERE / "node_modules").exists(), "Run `make test-tools` first."
    with serving(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


def check_sign_in(issuer: Issuer, token: str, steps: dict[str, Any]) -> None:
    assert issuer.account_id == issuer.claims(token)["sub"]


def check_refresh(issuer: Issuer, token: str, steps: dict[str, Any]) -> None:
    refreshed = issuer.claims(token)
    assert issuer.account_id == refreshed["sub"]
    if "sign_in" in steps:
        signed_in = issuer.claims(steps["sign_in"])
        assert signed_in["sid"] == refreshed["sid"]
        assert signed_in["jti"] != refreshed["jti"]


def check_client_credentials(issuer: Issuer, token: str, steps: dict[str, Any]) -> None:
    assert issuer.service_id == issuer.claims(token)["sub"]


def check_revocation(issuer: Issuer, refresh_token: str, steps: dict[str, Any]) -> None:
    status, body = issuer.post("/token", grant_type="refresh_token", refresh_token=refresh_token)
    assert (400, "invalid_grant") == (status, body["error"])


def check_introspection(issuer: Issuer, found: list[dict[str, Any]], steps: dict[str, Any]) -> None:
    before, after = found
    expected = {"active": True, "sub": issuer.account_id, "username": issuer.account["username"]}
    assert expected == {name: before.get(name) for name in expected}
    assert {"active": False} == after


def check_validation(issuer: Issuer, bearers: dict[str, str | None], steps: dict[str, Any]) -> None:
    """A token is good until it expires: the page says so."""
    assert issuer.account_id == bearers["revoked"]
    check_bearers(issuer, bearers, {"person", "service", "revoked"})


def check_validation_by_introspection(issuer: Issuer, bearers: dict[str, str | None], steps: dict[str, Any]) -> None:
    check_bearers(issuer, bearers, {"person", "service"})


def check_bearers(issuer: Issuer, bearers: dict[str, str | None], accepted: set[str]) -> None:
    assert accepted == {name for name, bearer in bearers.items() if bearer is not None}
    # Django OAuth Toolkit knows people by their name, and services not at all.
    assert bearers["person"] in {issuer.account_id, issuer.account["username"]}
    assert bearers["service"] in {issuer.service_id, "a service"}


CHECKS: dict[str, Callable[[Issuer, Any, dict[str, Any]], None]] = {
    "sign_in": check_sign_in,
    "refresh": check_refresh,
    "client_credentials": check_client_credentials,
    "revocation": check_revocation,
    "introspection": check_introspection,
    "validation": check_validation,
    "validation_by_introspection": check_validation_by_introspection,
}


@pytest.mark.parametrize("program", programs("with"))
def test_a_program_with_a_package_of_another_maker_does_what_the_page_says(issuer: Issuer, program: str) -> None:
    done = issuer.run(program)
    assert 0 == done.returncode, done.stdout + done.stderr
    steps = json.loads(done.stdout)
    assert read_rows()[program].steps == set(steps)
    for step, brought in steps.items():
        CHECKS[step](issuer, brought, steps)


@pytest.mark.parametrize("program", programs("not_with"))
def test_a_package_that_does_not_work_fails_for_the_reason_that_the_page_has(issuer: Issuer, program: str) -> None:
    """When a later version of it works, the page is wrong."""
    done = issuer.run(program)
    assert 0 != done.returncode
    reasons = read_rows()[program].reasons
    assert reasons
    assert [] == [reason for reason in reasons if reason not in done.stderr], done.stderr
