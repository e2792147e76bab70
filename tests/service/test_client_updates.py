"""A client is changed: what is given and taken, the change, the event, and the tokens that it has."""

import json
import secrets
from typing import Any

import pytest

from authmint_service.administration import update_client
from authmint_service.clients import Client, ClientFields, ClientStore
from authmint_service.database import Database
from authmint_service.errors import InvalidValue
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Service

pytestmark = pytest.mark.anyio

BEFORE = frozenset({"orders:read", "orders:write"})
ORIGIN = f"https://{secrets.token_hex(4)}.example"


async def changes_of(database: Database, client: Client, kind: str = "client") -> list[bool]:
    statement = "SELECT takes FROM authmint.changes WHERE kind = $2 AND name = $1 ORDER BY n"
    return [row["takes"] for row in await database.fetch_all(statement, client.client_id, kind)]


async def events_of(database: Database, client: Client) -> list[dict[str, Any]]:
    statement = "SELECT details FROM authmint.events WHERE kind = 'client.updated' AND client_id = $1 ORDER BY id"
    return [json.loads(row["details"]) for row in await database.fetch_all(statement, client.client_id)]


async def stored(service: Service, client: Client) -> Client:
    found = (await ClientStore(service.database).load(client.client_id)).client
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scopes", "added", "removed"),
    [
        ({"orders:read"}, [], ["orders:write"]),
        ({"orders:read", "orders:write", "orders:ship"}, ["orders:ship"], []),
        ({"orders:read", "orders:ship"}, ["orders:ship"], ["orders:write"]),
        (set(), [], sorted(BEFORE)),
        (BEFORE, [], []),
    ],
)
async def test_an_update_is_a_change_that_takes_only_if_a_scope_is_taken_away(
    service: Service, scopes: set[str], added: list[str], removed: list[str]
) -> None:
    client, database = await service.add_client(), service.database
    fields: ClientFields = {"scopes": frozenset(scopes)}
    update = await update_client(database, client.client_id, fields, service.clock(), actor=OPERATOR)
    assert (added, removed) == (update.added("scopes"), update.removed("scopes"))
    assert scopes == (await stored(service, client)).scopes
    if not added and not removed:
        assert ([False], []) == (await changes_of(database, client), await events_of(database, client))
        return
    assert [False, bool(removed)] == await changes_of(database, client)
    assert [{"added_scopes": added, "removed_scopes": removed}] == await events_of(database, client)


CHANGES: dict[str, tuple[ClientFields, bool, dict[str, Any]]] = {
    "a name": ({"name": "Another"}, False, {"name": "Another"}),
    "fewer grants": (
        {"grants": frozenset({"password"})}, True, {"added_grants": [], "removed_grants": ["refresh_token"]},
    ),
    "a resource more": (
        {"resources": ("orders", ISSUER, "billing")}, False, {"added_resources": ["billing"], "removed_resources": []},
    ),
    "a resource less": ({"resources": (ISSUER,)}, True, {"added_resources": [], "removed_resources": ["orders"]}),
    "another default": ({"default_resources": ("orders",)}, False, {"default_resources": ["orders"]}),
    "lifetimes": (
        {"refresh_grace_seconds": 5, "session_idle_ttl": 3600, "session_ttl": 7200}, False,
        {"refresh_grace_seconds": 5, "session_idle_ttl": 3600, "session_ttl": 7200},
    ),
    "a cookie": (
        {"refresh_cookie": True, "origins": (ORIGIN,)}, False,
        {"refresh_cookie": True, "added_origins": [ORIGIN], "removed_origins": []},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_every_field_can_be_changed_and_the_others_stay(service: Service, name: str) -> None:
    fields, takes, details = CHANGES[name]
    client, database = await service.add_client(), service.database
    update = await update_client(database, client.client_id, fields, service.clock(), actor=OPERATOR)
    after = await stored(service, client)
    assert (update.after, client) == (after, update.before)
    assert set(fields) == {one for one in Client.__dataclass_fields__ if getattr(client, one) != getattr(after, one)}
    assert ([False, takes], [details]) == (await changes_of(database, client), await events_of(database, client))


async def test_each_field_of_a_client_can_be_updated_or_is_what_it_is() -> None:
    fixed = {"client_id", "subject", "confidential", "secret_hashes", "enabled"}
    assert set(Client.__dataclass_fields__) - fixed == set(ClientFields.__annotations__)


async def test_a_lifetime_can_be_that_of_the_service_again(service: Service) -> None:
    client = await service.add_client(session_ttl=7200, refresh_grace_seconds=5)
    fields: ClientFields = {"session_ttl": None, "refresh_grace_seconds": None}
    await update_client(service.database, client.client_id, fields, service.clock(), actor=OPERATOR)
    after = await stored(service, client)
    assert (None, None) == (after.session_ttl, after.refresh_grace_seconds)


async def test_the_origins_of_a_cookie_are_a_change_of_their_own(service: Service) -> None:
    """Each process answers preflights for the origins of all clients with a cookie."""
    old, new = (f"https://{secrets.token_hex(4)}.example" for _ in range(2))
    client, database = await service.add_client(refresh_cookie=True, origins=(old,)), service.database
    changes: list[ClientFields] = [{"origins": (old, new)}, {"origins": (new,)}, {"name": "x"}]
    for fields in changes:
        await update_client(database, client.client_id, fields, service.clock(), actor=OPERATOR)
    assert [False, False, True] == await changes_of(database, client, "origins")
    await service.read_changes()
    allowed = [
        (await service.http.options("/token", headers={"Origin": one, "Access-Control-Request-Method": "POST"})).status_code
        for one in (old, new)
    ]
    assert [405, 204] == allowed


REFUSED: dict[str, tuple[ClientFields, str]] = {
    "a quote": ({"scopes": frozenset({'quoted"'})}, "scopes_invalid"),
    "two words": ({"scopes": frozenset({"two words"})}, "scopes_invalid"),
    "no text": ({"scopes": frozenset({""})}, "scopes_invalid"),
    "many scopes": ({"scopes": frozenset(f"s{number}" for number in range(65))}, "scopes_too_many"),
    "no resource": ({"resources": ()}, "resources_out_of_range"),
    "a default that goes": ({"resources": ("orders",)}, "default_resources_unknown"),
    "a cookie without a page": ({"refresh_cookie": True}, "refresh_cookie_not_allowed"),
    "a long idle time": ({"session_idle_ttl": 7200, "session_ttl": 3600}, "session_idle_ttl_too_long"),
    "a name with a line": ({"name": "a\nb"}, "name_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_no_client_may_be_is_refused_and_changes_nothing(service: Service, name: str) -> None:
    client, database = await service.add_client(), service.database
    fields, code = REFUSED[name]
    with pytest.raises(InvalidValue) as refused:
        await update_client(database, client.client_id, fields, service.clock(), actor=OPERATOR)
    assert code == refused.value.code
    assert client == await stored(service, client)
    assert ([False], []) == (await changes_of(database, client), await events_of(database, client))


async def test_what_its_caller_refuses_changes_nothing(service: Service) -> None:
    client = await service.add_client()

    def refuse(_: Client) -> None:
        raise InvalidValue("grants_unknown", field="grants", known="none")

    with pytest.raises(InvalidValue, match="A grant is one of none"):
        await update_client(service.database, client.client_id, {"name": "x"}, service.clock(), check=refuse, actor=OPERATOR)
    assert client == await stored(service, client)


async def test_a_client_that_does_not_exist_is_named(service: Service) -> None:
    with pytest.raises(InvalidValue, match="There is no client unknown"):
        await update_client(service.database, "unknown", {"name": "x"}, service.clock(), actor=OPERATOR)


async def test_a_session_outlives_the_loss_of_a_scope_and_its_next_token_lacks_it(service: Service) -> None:
    client, user = await service.add_client(), await service.add_account()
    tokens: dict[str, Any] = (await service.sign_in(client, user)).json()
    reading: ClientFields = {"scopes": frozenset({"orders:read"})}
    await update_client(service.database, client.client_id, reading, service.clock(), actor=OPERATOR)
    refreshed = await service.refresh(client, tokens["refresh_token"])
    assert (200, "orders:read") == (refreshed.status_code, refreshed.json()["scope"])
    # And it comes back, as the session has what was asked for at the sign-in.
    await update_client(service.database, client.client_id, {"scopes": BEFORE}, service.clock(), actor=OPERATOR)
    again = await service.refresh(client, refreshed.json()["refresh_token"])
    assert "orders:read orders:write" == again.json()["scope"]


async def test_a_grant_that_is_taken_away_is_refused_at_the_next_request(service: Service) -> None:
    client, user = await service.add_client(), await service.add_account()
    refresh_token = (await service.sign_in(client, user)).json()["refresh_token"]
    fields: ClientFields = {"grants": frozenset({"password"})}
    await update_client(service.database, client.client_id, fields, service.clock(), actor=OPERATOR)
    await service.read_changes()
    refused = await service.refresh(client, refresh_token)
    assert (400, "unauthorized_client") == (refused.status_code, refused.json()["error"])
    # The refusal used up no token.
    both: ClientFields = {"grants": frozenset({"password", "refresh_token"})}
    await update_client(service.database, client.client_id, both, service.clock(), actor=OPERATOR)
    await service.read_changes()
    assert 200 == (await service.refresh(client, refresh_token)).status_code
