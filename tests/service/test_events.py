"""Each change is recorded by the statement that makes it: who, what, and where the request came from."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from authmint_service.accounts import AccountStore
from authmint_service.clients import ClientStore
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource
from tests.actors import OPERATOR
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

SOURCE = RequestSource(request_id="r1", ip_address="192.0.2.7", user_agent="a browser")


async def events_of(service: Service, **by: str) -> list[dict[str, Any]]:
    """The events of an account (`subject`) or a client (`client_id`), the oldest first."""
    ((column, value),) = by.items()
    rows = await service.database.fetch_all(f"SELECT * FROM authmint.events WHERE {column} = $1 ORDER BY id", value)
    return [
        dict(row) | {"details": json.loads(row["details"]), "personal": json.loads(row["personal"] or "null")} for row in rows
    ]


def test_every_kind_of_event_stands_in_the_table_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    _, _, table = text.partition("\n| kind | when |\n|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    assert {kind.value for kind in EventKind} == {kind for row in rows for kind in re.findall("`([^`]+)`", row.split("|")[1])}


def test_the_personal_part_is_salted_and_only_its_digest_stays() -> None:
    event = Event(kind=EventKind.ACCOUNT_CREATED, actor=OPERATOR, source=SOURCE, personal={"username": "anna"})
    first, second = event.values(1.0), event.values(1.0)
    personal, salt, digest = first[7:10]
    assert isinstance(personal, str)
    assert isinstance(salt, bytes)
    assert {"ip_address": "192.0.2.7", "user_agent": "a browser", "username": "anna"} == json.loads(personal)
    assert hashlib.sha256(salt + personal.encode()).digest() == digest
    assert 16 == len(salt)
    assert first[8:10] != second[8:10]
    assert "anna" not in repr(event)


def test_an_event_without_a_personal_part_has_no_salt() -> None:
    assert (None, None, None) == Event(kind=EventKind.TOKENS_REVOKED, actor=OPERATOR).values(1.0)[7:10]


def test_what_a_client_chose_is_cut_off() -> None:
    source = RequestSource(request_id="r1", ip_address=None, user_agent="\0\ud800" + "x" * 10_000)
    personal = Event(kind=EventKind.TOKENS_REVOKED, actor=OPERATOR, source=source).values(1.0)[7]
    assert {"user_agent": "??" + "x" * 254} == json.loads(str(personal))


async def test_changes_of_an_account_name_who_made_them(service: Service) -> None:
    account, store = await service.add_account(), AccountStore(service.database)
    await store.disable(account.id, service.clock(), actor=OPERATOR, reason="left the company")
    await store.enable(account.id, service.clock(), actor=OPERATOR)
    await store.enable(account.id, service.clock(), actor=OPERATOR)
    found = await events_of(service, subject=account.id)
    assert ["account.created", "account.disabled", "account.enabled"] == [event["kind"] for event in found]
    assert {("operator", "a test")} == {(event["actor_kind"], event["actor_id"]) for event in found}
    assert [{"username": account.username}, {"reason": "left the company"}, None] == [event["personal"] for event in found]
    assert {service.clock()} == {event["occurred_at"].timestamp() for event in found}


async def test_changes_of_a_client_hold_no_secret(service: Service, secret: str) -> None:
    client, store = await service.add_client(secret), ClientStore(service.database)
    actor = Actor(kind="client", id=client.subject, client_id="console")
    assert await store.disable(client.client_id, service.clock(), actor=actor, source=SOURCE)
    for _ in range(2):
        assert await store.enable(client.client_id, service.clock(), actor=actor, source=SOURCE)
    found = await events_of(service, client_id=client.client_id)
    assert ["client.created", "client.disabled", "client.enabled"] == [event["kind"] for event in found]
    assert [None, "r1", "r1"] == [event["request_id"] for event in found]
    assert sorted(client.scopes) == found[0]["details"]["scopes"]
    assert secret not in str(found)
    assert client.secret_hashes[0].hex() not in str(found)


async def test_a_change_that_is_not_made_is_not_recorded(service: Service) -> None:
    assert not await ClientStore(service.database).disable("nobody", service.clock(), actor=OPERATOR)
    assert [] == await events_of(service, client_id="nobody")
