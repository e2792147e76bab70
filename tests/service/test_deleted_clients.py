"""A client is deleted: what it had ends, its id is used up, and its row stays."""

import asyncio

import asyncpg
import pytest

from authmint_service.administration import (
    add_client_secret,
    delete_client,
    disable_client,
    enable_client,
    update_client,
)
from authmint_service.clients import Client, ClientStore, new_client_secret
from authmint_service.clients import store as client_store
from authmint_service.errors import AlreadyExists, DatabaseUnavailable, InvalidValue
from tests.actors import OPERATOR
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio


async def delete(service: Service, client: Client) -> None:
    await delete_client(service.database, client.client_id, service.clock(), actor=OPERATOR)
    await service.read_changes()


async def live(service: Service, client: Client) -> int:
    return await ClientStore(service.database).count_sessions(client.client_id, service.clock())


async def test_a_deleted_client_gets_no_token_and_its_sessions_and_tokens_end(service: Service) -> None:
    client, user = await service.add_client(), await service.add_account()
    tokens = (await service.sign_in(client, user)).json()
    assert 1 == await live(service, client)
    await delete(service, client)
    assert (0, [401, 401]) == (
        await live(service, client),
        [
            (await service.refresh(client, tokens["refresh_token"])).status_code,
            (await service.sign_in(client, user)).status_code,
        ],
    )
    await service.read_revocations()
    answer = await service.http.get("/account/v1", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert 401 == answer.status_code
    statement = "SELECT end_cause FROM authmint.sessions WHERE client_id = $1"
    assert "client_disabled" == await service.database.fetch_value(statement, client.client_id)


async def test_a_deleted_client_leaves_its_row_without_contents(service: Service, secret: str) -> None:
    client = await service.add_client(secret, session_ttl=3600)
    await delete(service, client)
    row = await service.database.fetch_row("SELECT * FROM authmint.clients WHERE client_id = $1", client.client_id)
    assert row is not None
    assert (client.client_id, False, [], [], [], [], None) == tuple(
        row[name] for name in ("name", "enabled", "grants", "scopes", "resources", "origins", "session_ttl")
    )
    assert client.subject == str(row["subject"])
    assert row["deleted_at"] is not None
    count = "SELECT count(*) FROM authmint.client_secrets WHERE client_id = $1"
    assert 0 == await service.database.fetch_value(count, client.client_id)
    statement = "SELECT kind FROM authmint.events WHERE client_id = $1 ORDER BY id"
    kinds = [one["kind"] for one in await service.database.fetch_all(statement, client.client_id)]
    assert ["client.created", "client.deleted"] == kinds


async def test_the_id_of_a_deleted_client_is_never_given_again(service: Service) -> None:
    client = await service.add_client()
    await delete(service, client)
    with pytest.raises(AlreadyExists, match="was deleted, and no other client gets its id"):
        await service.add_client(client_id=client.client_id)
    with pytest.raises(asyncpg.CheckViolationError):
        await service.database.execute("UPDATE authmint.clients SET enabled = true WHERE client_id = $1", client.client_id)


async def test_a_deleted_client_is_unknown_to_everything(service: Service, secret: str) -> None:
    client, database, now = await service.add_client(secret), service.database, service.clock()
    await delete(service, client)
    for change in (
        update_client(database, client.client_id, {"name": "x"}, now, actor=OPERATOR),
        disable_client(database, client.client_id, now, actor=OPERATOR),
        enable_client(database, client.client_id, now, actor=OPERATOR),
        delete_client(database, client.client_id, now, actor=OPERATOR),
        add_client_secret(database, client.client_id, new_client_secret(), now, actor=OPERATOR),
    ):
        with pytest.raises(InvalidValue, match=f"There is no client {client.client_id}"):
            await change
    store = ClientStore(database)
    assert (await store.load(client.client_id)).client is None
    assert client.client_id not in {one.client_id for one in await store.list(limit=10_000)}


async def test_a_deletion_that_failed_half_way_is_finished_when_it_is_repeated(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user, store = await service.add_client(), await service.add_account(), ClientStore(service.database)
    assert 200 == (await service.sign_in(client, user)).status_code

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(ClientStore, "_revoke_sessions", fail)
        with pytest.raises(DatabaseUnavailable):
            await store.delete(client.client_id, service.clock(), actor=OPERATOR)
    assert 1 == await live(service, client)
    assert not await store.delete(client.client_id, service.clock(), actor=OPERATOR)
    assert 0 == await live(service, client)


async def test_sign_ins_beside_a_deletion_leave_no_live_session(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_store, "BATCH", 2)
    client, user = await service.add_client(), await service.add_account()
    *_, done = await asyncio.gather(*(service.sign_in(client, user) for _ in range(6)), delete(service, client))
    assert (None, 0) == (done, await live(service, client))
