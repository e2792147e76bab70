"""Usernames and addresses: one name space, one unique index, one look-up."""

import asyncio
import secrets
import uuid
from typing import Any

import asyncpg
import pytest

from authmint_service.accounts import Account, AccountState, AccountStore, prepare_username
from authmint_service.errors import AlreadyExists, InvalidValue
from authmint_service.passwords import PasswordStore
from tests.actors import OPERATOR
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio


def new_address() -> str:
    return f"{secrets.token_hex(6)}@mail.example"


async def add_address(service: Service, account: Account, address: str, *, verified: bool) -> None:
    await service.database.execute(
        """
        INSERT INTO authmint.account_names (prepared, account_id, kind, text, verified_at)
        VALUES ($1, $2, 'email', $1, CASE WHEN $3 THEN now() END)
        """,
        address,
        account.id,
        verified,
    )


async def test_an_account_is_found_by_its_username_and_by_a_verified_address_alone(service: Service) -> None:
    store, account = AccountStore(service.database), await service.add_account()
    verified, unverified = new_address(), new_address()
    await add_address(service, account, verified, verified=True)
    await add_address(service, account, unverified, verified=False)
    assert account == await store.find_by_name(account.username)
    assert account == await store.find_by_name(verified)
    assert None is await store.find_by_name(unverified)
    assert account == await store.find(account.id)


async def test_many_accounts_may_claim_one_address_and_one_may_prove_it(service: Service) -> None:
    first, second = await service.add_account(), await service.add_account()
    address = new_address()
    for account in (first, second):
        await add_address(service, account, address, verified=False)
    proof = "UPDATE authmint.account_names SET verified_at = now() WHERE account_id = $1 AND prepared = $2"
    await service.database.execute(proof, second.id, address)
    with pytest.raises(asyncpg.UniqueViolationError):
        await service.database.execute(proof, first.id, address)
    assert second == await AccountStore(service.database).find_by_name(address)


@pytest.mark.parametrize(("kind", "name"), [("username", "a@b"), ("email", "no-at-sign")])
async def test_a_username_has_no_at_sign_and_an_address_has_one(service: Service, kind: str, name: str) -> None:
    account = await service.add_account()
    with pytest.raises(asyncpg.CheckViolationError):
        await service.database.execute(
            "INSERT INTO authmint.account_names (prepared, account_id, kind, text) VALUES ($1, $2, $3, $1)",
            name + secrets.token_hex(6),
            account.id,
            kind,
        )


@pytest.mark.parametrize("name", ["anna@mail.example", "anna\uff20mail.example", "@"])
def test_a_name_with_an_at_sign_is_refused_as_a_username(name: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        prepare_username(name)
    assert ("username_is_address", "username") == (refused.value.code, refused.value.field)


@pytest.mark.parametrize(
    ("name", "code"), [("", "username_too_short"), ("n" * 129, "username_too_long"), ("a b", "username_invalid_characters")]
)
def test_a_refused_username_has_a_code(name: str, code: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        prepare_username(name)
    assert (code, "username") == (refused.value.code, refused.value.field)


async def test_a_taken_username_leaves_no_row_behind(service: Service) -> None:
    store, account = AccountStore(service.database), await service.add_account()
    other = Account(id=str(uuid.uuid4()), username=account.username, password_hash="-")
    with pytest.raises(AlreadyExists):
        await store.add(other, service.clock(), actor=OPERATOR)
    for table, column in (("accounts", "id"), ("account_names", "account_id"), ("passwords", "account_id")):
        statement = f"SELECT count(*) FROM authmint.{table} WHERE {column} = $1"
        assert 0 == await service.database.fetch_value(statement, other.id)


async def test_of_many_accounts_with_one_name_added_at_once_one_is_made(service: Service) -> None:
    name = f"wanted-{secrets.token_hex(6)}"
    accounts = [Account(id=str(uuid.uuid4()), username=name, password_hash="-") for _ in range(12)]
    store = AccountStore(service.database)
    made = await asyncio.gather(
        *(store.add(account, service.clock(), actor=OPERATOR) for account in accounts), return_exceptions=True
    )
    assert [AlreadyExists] * 11 == [type(error) for error in made if error is not None]
    found = await store.find_by_name(name)
    assert found is not None
    assert found.id == accounts[made.index(None)].id


async def test_the_state_of_an_account_has_a_reason_only_while_it_is_disabled(service: Service) -> None:
    store, account = AccountStore(service.database), await service.add_account()
    await store.disable(account.id, service.clock(), actor=OPERATOR, reason="left the company")
    disabled = await store.find(account.id)
    assert disabled is not None
    assert (AccountState.DISABLED, "left the company", False) == (disabled.state, disabled.disabled_reason, disabled.is_active)
    assert None is await PasswordStore(service.database).find(account.id)
    await store.enable(account.id, service.clock(), actor=OPERATOR)
    assert account == await store.find(account.id)


async def test_a_deleted_account_is_neither_enabled_nor_disabled(service: Service) -> None:
    store, account = AccountStore(service.database), await service.add_account()
    deletion = "UPDATE authmint.accounts SET state = 'deleted', deleted_at = now() WHERE id = $1"
    await service.database.execute(deletion, account.id)
    await store.enable(account.id, service.clock(), actor=OPERATOR)
    await store.disable(account.id, service.clock(), actor=OPERATOR)
    found = await store.find(account.id)
    assert found is not None
    assert AccountState.DELETED is found.state
    client = await service.add_client()
    assert "invalid_grant" == (await service.sign_in(client, account)).json()["error"]


async def test_an_account_without_a_password_cannot_sign_in_until_it_gets_one(service: Service) -> None:
    account, client = await service.add_account(password_hash=None), await service.add_client()
    assert "invalid_grant" == (await service.sign_in(client, account)).json()["error"]
    usual = (await service.add_account()).password_hash
    assert usual is not None
    values: dict[str, Any] = {"credentials_version": 0, "kept": None, "now": service.clock(), "actor": OPERATOR}
    assert await PasswordStore(service.database).change(account.id, usual, **values)
    assert 200 == (await service.sign_in(client, account)).status_code
    # A change that read the credentials before that one.
    assert not await PasswordStore(service.database).change(account.id, "-", **values)
    assert 200 == (await service.sign_in(client, account)).status_code
