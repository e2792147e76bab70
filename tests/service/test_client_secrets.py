"""The secrets of a client: a second one, its end, its dates, and when it was used."""

import asyncio

import httpx2
import pytest

from authmint_service.administration import add_client_secret, remove_client_secret
from authmint_service.clients import Client, ClientSecretStore, ClientStore, SecretUses, new_client_secret, secret_hash
from authmint_service.errors import DatabaseUnavailable, InvalidValue
from tests.actors import OPERATOR
from tests.service.conftest import Service, StartService

pytestmark = pytest.mark.anyio


async def ask(service: Service, client: Client, secret: str) -> httpx2.Response:
    return await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)


async def add(service: Service, client: Client, *, lifetime: float | None = None) -> tuple[str, str]:
    """A new secret, and its id."""
    secret = new_client_secret()
    added = await add_client_secret(
        service.database, client.client_id, secret, service.clock(), lifetime=lifetime, actor=OPERATOR
    )
    await service.read_changes()
    return secret, added.id


async def test_a_secret_is_changed_without_a_gap(service: Service, secret: str) -> None:
    client = await service.add_client(secret)
    new, new_id = await add(service, client)
    assert [200, 200] == [(await ask(service, client, one)).status_code for one in (secret, new)]
    (old,) = {one.id for one in await ClientSecretStore(service.database).list(client.client_id)} - {new_id}
    await remove_client_secret(service.database, client.client_id, old, service.clock(), actor=OPERATOR)
    await service.read_changes()
    assert [401, 200] == [(await ask(service, client, one)).status_code for one in (secret, new)]


async def test_a_third_live_secret_is_refused_with_a_sentence_and_after_an_expired_one_it_is_not(
    service: Service, secret: str
) -> None:
    client = await service.add_client(secret)
    await add(service, client, lifetime=86_400)
    with pytest.raises(InvalidValue, match="has 2 live secrets already"):
        await add(service, client)
    expire = "UPDATE authmint.client_secrets SET expires_at = now() WHERE client_id = $1 AND expires_at IS NOT NULL"
    await service.database.execute(expire, client.client_id)
    third, _ = await add(service, client)
    assert 200 == (await ask(service, client, third)).status_code
    assert 3 == len(await ClientSecretStore(service.database).list(client.client_id))


async def test_two_that_add_a_third_secret_at_once_leave_two(service: Service, secret: str) -> None:
    client = await service.add_client(secret)
    results = await asyncio.gather(*(add(service, client) for _ in range(5)), return_exceptions=True)
    assert 4 == sum(isinstance(result, InvalidValue) for result in results), results
    assert 2 == len(await ClientSecretStore(service.database).list(client.client_id))


async def test_the_tokens_of_a_client_that_loses_a_secret_are_refused_and_it_gets_new_ones(
    service: Service, secret: str
) -> None:
    """Anyone who knew the secret may have some."""
    client = await service.add_client(secret)
    new, secret_id = await add(service, client)
    await remove_client_secret(service.database, client.client_id, secret_id, service.clock(), actor=OPERATOR)
    statement = "SELECT takes FROM authmint.changes WHERE kind = 'client' AND name = $1 ORDER BY n"
    rows = await service.database.fetch_all(statement, client.client_id)
    assert [False, False, True] == [row["takes"] for row in rows]
    statement = "SELECT kind, details ->> 'secret' AS secret FROM authmint.events WHERE client_id = $1 ORDER BY id"
    events = [tuple(row.values()) for row in await service.database.fetch_all(statement, client.client_id)]
    assert [("client_secret.added", secret_id), ("client_secret.removed", secret_id)] == events[1:3]
    await service.read_changes()
    assert [200, 401] == [(await ask(service, client, one)).status_code for one in (secret, new)]


async def test_what_cannot_be_done_with_secrets_is_a_sentence(service: Service, secret: str) -> None:
    database, now = service.database, service.clock()
    client, public = await service.add_client(secret), await service.add_client()
    with pytest.raises(InvalidValue, match="A public client has no secret"):
        await add_client_secret(database, public.client_id, new_client_secret(), now, actor=OPERATOR)
    with pytest.raises(InvalidValue, match="has this secret already"):
        await add_client_secret(database, client.client_id, secret, now, actor=OPERATOR)
    for change in (
        add_client_secret(database, "unknown", secret, now, actor=OPERATOR),
        remove_client_secret(database, "unknown", "x", now, actor=OPERATOR),
    ):
        with pytest.raises(InvalidValue, match="There is no client unknown"):
            await change
    other = (await ClientSecretStore(database).list((await service.add_client(new_client_secret())).client_id))[0].id
    for wrong in ("x", "", b"\0".hex(), other):
        with pytest.raises(InvalidValue, match="has no secret with this id"):
            await remove_client_secret(database, client.client_id, wrong, now, actor=OPERATOR)
    assert 1 == len(await ClientSecretStore(database).list(client.client_id))


@pytest.mark.own_service
async def test_the_last_use_of_each_secret_is_written_when_the_service_stops(service: Service, secret: str) -> None:
    client = await service.add_client(secret)
    _, unused = await add(service, client)
    assert 200 == (await ask(service, client, secret)).status_code
    assert 401 == (await ask(service, client, new_client_secret())).status_code
    await service.stop()
    found = await ClientSecretStore(service.database).list(client.client_id)
    assert {(False, service.clock()), (True, None)} == {(one.id == unused, one.last_used_at) for one in found}


async def test_a_use_that_could_not_be_written_is_written_later_and_never_goes_back(
    start_service: StartService, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    client = await service.add_client(secret)
    store, times = ClientSecretStore(service.database), iter([1_800_000_100.0, 1_800_000_000.0])
    uses, mark = SecretUses(store, lambda: next(times)), ClientSecretStore.mark_used

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    uses.note(client.client_id, secret_hash(secret))
    monkeypatch.setattr(ClientSecretStore, "mark_used", fail)
    with pytest.raises(DatabaseUnavailable):
        await uses.write()
    monkeypatch.setattr(ClientSecretStore, "mark_used", mark)
    await uses.write()
    assert [1_800_000_100.0] == [one.last_used_at for one in await store.list(client.client_id)]
    uses.note(client.client_id, secret_hash(secret))
    await uses.write()
    assert [1_800_000_100.0] == [one.last_used_at for one in await store.list(client.client_id)]


async def test_a_service_stops_well_when_the_uses_of_secrets_cannot_be_written(
    start_service: StartService, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    assert 200 == (await ask(service, await service.add_client(secret), secret)).status_code

    async def fail(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(ClientSecretStore, "mark_used", fail)
    await service.stop()


async def test_two_processes_that_write_the_same_uses_at_once_do_not_wait_for_each_other_for_ever(
    service: Service,
) -> None:
    clients = [(await service.add_client(secret), secret) for secret in (new_client_secret() for _ in range(20))]
    store = ClientSecretStore(service.database)
    uses = [(client.client_id, secret_hash(secret), service.clock()) for client, secret in clients]
    async with asyncio.timeout(20):
        await asyncio.gather(*(store.mark_used(list(order)) for order in (uses, reversed(uses)) for _ in range(10)))
    assert (await ClientStore(service.database).load(uses[0][0])).client is not None
