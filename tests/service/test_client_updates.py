"""The scopes of a client are changed: what is given and taken, the change, the event, and the tokens that it has."""

from typing import Any

import pytest

from authmint_service.administration import update_client_scopes
from authmint_service.clients import ClientStore
from authmint_service.errors import InvalidValue
from tests.actors import OPERATOR
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

BEFORE = {"orders:read", "orders:write"}


@pytest.mark.parametrize(
    ("scopes", "added", "removed"),
    [
        ({"orders:read"}, set(), {"orders:write"}),
        ({"orders:read", "orders:write", "orders:ship"}, {"orders:ship"}, set()),
        ({"orders:read", "orders:ship"}, {"orders:ship"}, {"orders:write"}),
        (set(), set(), BEFORE),
        (BEFORE, set(), set()),
    ],
)
async def test_an_update_is_a_change_that_takes_only_if_a_scope_is_taken_away(
    service: Service, scopes: set[str], added: set[str], removed: set[str]
) -> None:
    client, database = await service.add_client(), service.database
    updated = await update_client_scopes(ClientStore(database), client.client_id, scopes, service.clock(), actor=OPERATOR)
    assert (scopes, added, removed) == tuple(map(set, (updated.scopes, updated.added, updated.removed)))
    loaded = (await ClientStore(database).load(client.client_id)).client
    assert loaded is not None
    assert scopes == loaded.scopes
    statement = "SELECT takes FROM authmint.changes WHERE kind = 'client' AND name = $1 ORDER BY n"
    changes = [row["takes"] for row in await database.fetch_all(statement, client.client_id)]
    statement = """
        SELECT details ->> 'added_scopes' AS added, details ->> 'removed_scopes' AS removed FROM authmint.events
         WHERE kind = 'client.updated' AND client_id = $1
    """
    events = [tuple(row.values()) for row in await database.fetch_all(statement, client.client_id)]
    if not added and not removed:
        assert ([False], []) == (changes, events)
        return
    assert [False, bool(removed)] == changes
    assert [(json_list(added), json_list(removed))] == events


def json_list(names: set[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in sorted(names)) + "]"


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        (['quoted"'], "scopes_invalid"), (["two words"], "scopes_invalid"), ([""], "scopes_invalid"),
        ([f"s{number}" for number in range(65)], "scopes_too_many"),
    ],
)  # fmt: skip
async def test_scopes_that_no_client_may_have_are_refused_and_change_nothing(
    service: Service, scopes: list[str], code: str
) -> None:
    client, store = await service.add_client(), ClientStore(service.database)
    with pytest.raises(InvalidValue) as refused:
        await update_client_scopes(store, client.client_id, scopes, service.clock(), actor=OPERATOR)
    assert (code, "scopes") == (refused.value.code, refused.value.field)
    assert client == (await store.load(client.client_id)).client


async def test_a_client_that_does_not_exist_is_named(service: Service) -> None:
    with pytest.raises(InvalidValue, match="There is no client unknown"):
        await update_client_scopes(ClientStore(service.database), "unknown", (), service.clock(), actor=OPERATOR)


async def test_a_session_outlives_the_loss_of_a_scope_and_its_next_token_lacks_it(service: Service) -> None:
    client, user = await service.add_client(), await service.add_account()
    tokens: dict[str, Any] = (await service.sign_in(client, user)).json()
    store = ClientStore(service.database)
    await update_client_scopes(store, client.client_id, ["orders:read"], service.clock(), actor=OPERATOR)
    refreshed = await service.refresh(client, tokens["refresh_token"])
    assert (200, "orders:read") == (refreshed.status_code, refreshed.json()["scope"])
    # And it comes back, as the session has what was asked for at the sign-in.
    await update_client_scopes(store, client.client_id, BEFORE, service.clock(), actor=OPERATOR)
    again = await service.refresh(client, refreshed.json()["refresh_token"])
    assert "orders:read orders:write" == again.json()["scope"]
