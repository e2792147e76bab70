"""A failed sign-in reveals nothing: always one response, and one hash at today's cost (ASVS 6.3.8)."""

from functools import partial
from typing import Any

import httpx2
import pytest
from passlib.hash import argon2, bcrypt, pbkdf2_sha256

from authmint_service.accounts import AccountState
from authmint_service.authentication.password import DUMMY_PASSWORD
from authmint_service.clients import Client
from authmint_service.passwords import PasswordHasher
from authmint_service.passwords.hasher import MEMORY_KIB, ROUNDS
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.counting_hasher import NO_COST, Cost, HashMeter

pytestmark = pytest.mark.anyio

TODAY, DEARER = (MEMORY_KIB, ROUNDS), (MEMORY_KIB + 1024, ROUNDS + 1)
CHEAP = (1024, 1)


def argon2_hash(cost: Cost) -> str:
    return str(argon2.using(type="ID", memory_cost=cost[0], rounds=cost[1], parallelism=1).hash(PASSWORD))


def hash_at(monkeypatch: pytest.MonkeyPatch, cost: Cost) -> None:
    """Make services that are started after this hash at another cost."""
    hasher = partial(PasswordHasher, memory_kib=cost[0], rounds=cost[1])
    monkeypatch.setattr("authmint_service.features.sign_in.PasswordHasher", hasher)


async def fail(service: Service, client: Client, username: str, password: str) -> httpx2.Response:
    return await service.token(grant_type="password", client_id=client.client_id, username=username, password=password)


async def credentials_by_failure(service: Service, cost: Cost) -> dict[str, tuple[str, str]]:
    """Return a name and a password for each kind of failure. Accounts have hashes at `cost` unless the kind says otherwise."""
    known = (await service.add_account(password_hash=argon2_hash(cost))).username
    stored = {
        "disabled": {"state": AccountState.DISABLED, "password_hash": argon2_hash(cost)},
        "disabled, with an old hash": {"state": AccountState.DISABLED, "password_hash": bcrypt.using(rounds=4).hash(PASSWORD)},
        "no hash": {"password_hash": "not a hash"},
        "half a hash": {"password_hash": argon2_hash(cost)[:40]},
        "a hash of an unknown scheme": {"password_hash": "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9"},
        "longer than bcrypt takes": {"password_hash": bcrypt.using(rounds=4).hash("x" * 72)},
        "another password, bcrypt": {"password_hash": bcrypt.using(rounds=4).hash("another")},
        "another password, PBKDF2": {"password_hash": pbkdf2_sha256.using(rounds=10).hash("another")},
    }  # fmt: skip
    accounts = {kind: (await service.add_account(**changes)).username for kind, changes in stored.items()}
    return {kind: (name, "x" * 73 if "longer" in kind else PASSWORD) for kind, name in accounts.items()} | {
        "wrong password": (known, "wrong"),
        "unknown name": ("nobody-at-all", PASSWORD),
        "name too long": ("n" * 129, PASSWORD),
        "name much too long": ("n" * 20_000, PASSWORD),
        "password too long": (known, "p" * 257),
        "password too long, wide characters": (known, "🦜" * 257),
        "password much too long": (known, "p" * 20_000),
        "control": ("a\tb", PASSWORD),
        "NUL in the name": (f"{known}\0", PASSWORD),
        "NUL in the password": (known, f"{PASSWORD}\0"),
        "NUL alone": ("\0", "\0"),
        "blank": (" ", PASSWORD),
        "surrounded by blanks": (f" {known} ", PASSWORD),
    }


@pytest.mark.parametrize("cost", [TODAY, DEARER])
async def test_every_failed_sign_in_gets_one_response_after_one_hash_at_todays_cost(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch, cost: Cost
) -> None:
    hash_at(monkeypatch, cost)
    service = await start_service()
    client, meter = await service.add_client(), HashMeter(monkeypatch)
    kinds = await credentials_by_failure(service, cost)
    seen: dict[str, tuple[Any, ...]] = {}
    for kind, (username, password) in kinds.items():
        meter.costs.clear()
        answer = await fail(service, client, username, password)
        costs = [one for one in meter.costs if one != NO_COST]
        seen[kind] = (answer.status_code, answer.text, [name for name, _ in answer.headers.multi_items()], costs)
    expected = seen["wrong password"]
    assert (400, "invalid_grant", [cost]) == (expected[0], httpx2.Response(400, text=expected[1]).json()["error"], expected[3])
    assert {} == {kind: one for kind, one in seen.items() if one != expected}


async def test_an_account_with_a_cheaper_hash_takes_no_less_time_than_any_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, old = await service.add_client(), await service.add_account(password_hash=argon2_hash(CHEAP))
    meter = HashMeter(monkeypatch)
    assert 400 == (await fail(service, client, old.username, "wrong")).status_code
    assert [CHEAP, TODAY] == meter.costs
    meter.costs.clear()
    assert 200 == (await service.sign_in(client, old)).status_code
    assert [CHEAP, TODAY] == meter.costs
    meter.costs.clear()
    assert 400 == (await fail(service, client, old.username, "wrong")).status_code
    assert [TODAY] == meter.costs


async def test_a_field_that_is_too_long_is_refused_before_anything_is_hashed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user = await service.add_client(), await service.add_account()
    meter = HashMeter(monkeypatch)
    megabyte = "p" * 1024 * 1024
    answers = [
        await fail(service, client, *names)
        for names in ((user.username, megabyte), ("nobody-at-all", megabyte), (megabyte, PASSWORD))
    ]
    assert {(400, "invalid_request")} == {(answer.status_code, answer.json()["error"]) for answer in answers}
    # The field is named; whether there is such an account is not.
    assert answers[0].text == answers[1].text
    assert ["password", "password", "username"] == [
        answer.json()["error_description"].removeprefix("The parameter ").partition(" ")[0] for answer in answers
    ]
    assert [] == meter.costs
    # From one character too many up to the most that a field may have: a short text is hashed instead.
    for password in ("p" * 24_000, "p" * 257, "🦜" * 257):
        assert 400 == (await fail(service, client, user.username, password)).status_code
    assert [TODAY] * 3 == meter.costs
    assert len(DUMMY_PASSWORD) == meter.longest
    for password in ("p" * 256, "🦜" * 256):
        assert 400 == (await fail(service, client, user.username, password)).status_code
        assert len(password.encode()) == meter.longest
