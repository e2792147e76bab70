"""Accounts and clients are disabled in one change: what they were given is dead, whatever happens at the same time."""

import asyncio
from typing import Any

import pytest

from authmint_service.accounts import AccountStore
from authmint_service.administration import revoke_all_tokens
from authmint_service.change_feed import ChangeKind
from authmint_service.clients import Client, ClientStore
from authmint_service.clients import store as client_store
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from authmint_service.events import Event, EventKind
from tests.actors import OPERATOR
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

EVENT = Event(kind=EventKind.CLIENT_DISABLED, actor=OPERATOR)


async def signed_in(service: Service, client: Client) -> str:
    token: str = (await service.sign_in(client, await service.add_account())).json()["refresh_token"]
    return token


async def live(service: Service, client: Client) -> int:
    statement = "SELECT count(*) FROM authmint.sessions WHERE client_id = $1 AND revoked_at IS NULL"
    return int(await service.database.fetch_value(statement, client.client_id))


async def changes_of(database: Database, kind: ChangeKind, name: str) -> list[bool]:
    statement = "SELECT takes FROM authmint.changes WHERE kind = $1 AND name = $2 ORDER BY n"
    return [row["takes"] for row in await database.fetch_all(statement, kind, name)]


async def test_to_disable_an_account_is_a_change_that_takes(service: Service) -> None:
    accounts, account = AccountStore(service.database), await service.add_account()
    assert await accounts.disable(account.id, service.clock(), actor=OPERATOR)
    await accounts.enable(account.id, service.clock(), actor=OPERATOR)
    await accounts.enable(account.id, service.clock(), actor=OPERATOR)
    assert [True, False] == await changes_of(service.database, ChangeKind.ACCOUNT, account.id)
    missing = "6f1c0000-0000-4000-8000-000000000000"
    assert not await accounts.disable(missing, service.clock(), actor=OPERATOR)
    assert [] == await changes_of(service.database, ChangeKind.ACCOUNT, missing)


async def test_to_revoke_all_tokens_is_a_change_that_takes(empty_database: Database) -> None:
    await revoke_all_tokens(empty_database, 1_800_000_000, actor=OPERATOR)
    assert [True] == await changes_of(empty_database, ChangeKind.ALL, "")


async def test_sessions_of_a_client_are_revoked_however_many_there_are(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_store, "BATCH", 2)
    client, other = await service.add_client(), await service.add_client()
    for _ in range(5):
        await signed_in(service, client)
    await signed_in(service, other)
    assert await ClientStore(service.database).disable(client.client_id, service.clock(), actor=OPERATOR)
    assert (0, 1) == (await live(service, client), await live(service, other))
    # The client's entry covers them, so the revocation list does not have them one by one.
    statement = """
        SELECT count(*) FROM authmint.sessions AS s JOIN authmint.changes AS c ON c.name = s.client_id AND c.takes
         WHERE s.client_id = $1 AND s.covered_by >= c.n
    """
    assert 5 == await service.database.fetch_value(statement, client.client_id)


async def test_a_disabling_that_failed_half_way_leaves_no_session_after_the_client_is_enabled(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, store = await service.add_client(), ClientStore(service.database)
    token = await signed_in(service, client)

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as fault:
        fault.setattr(ClientStore, "_revoke_sessions", fail)
        with pytest.raises(DatabaseUnavailable):
            await store.disable(client.client_id, service.clock(), actor=OPERATOR)
    assert 1 == await live(service, client)
    await service.read_changes()
    assert 401 == (await service.refresh(client, token)).status_code
    assert await store.enable(client.client_id, service.clock(), actor=OPERATOR)
    await service.read_changes()
    assert 400 == (await service.refresh(client, token)).status_code
    assert await signed_in(service, client)


async def test_a_client_that_is_enabled_while_it_is_being_disabled_keeps_no_old_session_and_every_new_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order of the steps of two commands: the old session is dead, and one that begins afterwards lives."""
    store, fetch_value = ClientStore(service.database), Database.fetch_value
    client = await service.add_client()
    old = await signed_in(service, client)
    is_disabled, may_go_on = asyncio.Event(), asyncio.Event()

    async def pause_after_the_first(self: Database, statement: str, *values: Any) -> Any:
        found = await fetch_value(self, statement, *values)
        if statement == ClientStore._PENDING and not is_disabled.is_set():
            is_disabled.set()
            await may_go_on.wait()
        return found

    monkeypatch.setattr(Database, "fetch_value", pause_after_the_first)
    disabling = asyncio.create_task(store.disable(client.client_id, service.clock(), actor=OPERATOR))
    await is_disabled.wait()
    assert await store.enable(client.client_id, service.clock(), actor=OPERATOR)
    await service.read_changes()
    assert 400 == (await service.refresh(client, old)).status_code
    new = await signed_in(service, client)
    may_go_on.set()
    assert await disabling
    assert 200 == (await service.refresh(client, new)).status_code


async def test_a_client_that_is_disabled_while_it_is_being_enabled_has_no_session_left(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, enable = ClientStore(service.database), ClientStore._enable
    client, rounds = await service.add_client(), 0
    old = await signed_in(service, client)

    async def disabled_in_between(self: ClientStore, *values: Any) -> bool | None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            # The first part of another command, whose second part has not begun.
            await store._disable(client.client_id, EVENT, service.clock())
        return await enable(self, *values)

    monkeypatch.setattr(ClientStore, "_enable", disabled_in_between)
    assert await store.enable(client.client_id, service.clock(), actor=OPERATOR)
    await service.read_changes()
    assert (0, 2) == (await live(service, client), rounds)
    assert 400 == (await service.refresh(client, old)).status_code


async def test_sign_ins_during_a_disabling_leave_no_session(service: Service) -> None:
    client, users = await service.add_client(), [await service.add_account() for _ in range(4)]
    store = ClientStore(service.database)
    await asyncio.gather(
        *(service.sign_in(client, user) for user in users),
        store.disable(client.client_id, service.clock(), actor=OPERATOR),
    )
    assert 0 == await live(service, client)
