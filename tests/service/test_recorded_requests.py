"""What requests do is recorded: who did it, from where, and nothing that could be used. A refresh writes no event."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from authmint_service.clients import Client
from authmint_service.database import Database
from authmint_service.events import Event, EventKind, FailureRecorder
from authmint_service.events.failures import MAX_A_MINUTE
from authmint_service.request_log import current_fields, current_record
from authmint_service.request_source import RequestSource
from authmint_service.secret_keys import SecretKeys
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, PASSWORD, Clock, Service, migrated_database
from tests.service.devices import sign_in
from tests.service.test_events import events_of

pytestmark = pytest.mark.anyio

KEYS = SecretKeys({1: b"s" * 32})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "User-Agent": "a browser"}


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events]


async def events_after_sign_in(service: Service, account: str) -> list[dict[str, Any]]:
    return [event for event in await events_of(service, subject=account) if event["kind"] != "account.created"]


async def test_a_sign_in_is_recorded_with_its_session_and_a_refresh_is_not(service: Service) -> None:
    one = await sign_in(service)
    assert 200 == (await service.refresh(one.client, one.refresh)).status_code
    (event,) = await events_after_sign_in(service, one.user.id)
    assert ("session.started", "account", one.user.id, one.client.client_id) == (
        event["kind"], event["actor_kind"], event["actor_id"], event["client_id"],
    )  # fmt: skip
    session = await service.database.fetch_value("SELECT id FROM authmint.sessions WHERE account_id = $1", one.user.id)
    assert {"sid": str(session)} == event["details"]
    assert "127.0.0.1" == event["personal"]["ip_address"]
    assert 16 == len(event["request_id"])


async def test_sign_out_of_each_kind_names_who_did_it(service: Service, secret: str) -> None:
    robot = await service.add_client(secret, scopes=frozenset({"admin:sessions:write"}))
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    as_service = bearer((await service.token(**form)).json()["access_token"])
    user, client, http = await service.add_account(), await service.add_client(), service.http
    tokens = [(await service.sign_in(client, user)).json() for _ in range(5)]
    await http.delete("/account/v1/sessions/current", headers=bearer(tokens[0]["access_token"]))
    await http.post("/revoke", data={"client_id": client.client_id, "token": tokens[1]["refresh_token"]})
    await http.post("/revoke", data={"client_id": client.client_id, "token": tokens[2]["access_token"]})
    proof = {"refresh_token": tokens[4]["refresh_token"]}
    await http.post("/account/v1/sessions/revoke-others", data=proof, headers=bearer(tokens[4]["access_token"]))
    for _ in range(2):
        await http.delete(f"/admin/v1/accounts/{user.id}/sessions", headers=as_service)
    found = [event for event in await events_after_sign_in(service, user.id) if event["kind"] != "session.started"]
    expected = [
        ("session.revoked", user.id, "signed_out", None), ("session.revoked", client.subject, "signed_out", None),
        ("session.revoked", client.subject, "signed_out", None),
        ("sessions.revoked", user.id, "signed_out_elsewhere", "others"),
        ("sessions.revoked", robot.subject, "operator", "all"),
    ]  # fmt: skip
    assert expected == [
        (event["kind"], event["actor_id"], event["details"]["cause"], event["details"].get("extent")) for event in found
    ]
    assert [1, 1] == [event["details"]["count"] for event in found if event["kind"] == "sessions.revoked"]
    assert "a browser" == found[0]["personal"]["user_agent"]


async def test_a_reused_refresh_token_is_recorded_by_the_statement_that_revokes_its_session(service: Service) -> None:
    one = await sign_in(service)
    child = (await service.refresh(one.client, one.refresh)).json()["refresh_token"]
    await service.refresh(one.client, child)
    assert 400 == (await service.refresh(one.client, one.refresh)).status_code
    assert 400 == (await service.refresh(one.client, one.refresh)).status_code
    found = await events_after_sign_in(service, one.user.id)
    assert ["session.started", "refresh_token.reused"] == kinds(found)
    assert {"cause": "reused", "sid": found[0]["details"]["sid"]} == found[1]["details"]
    assert one.client.subject == found[1]["actor_id"]


async def test_a_changed_password_is_recorded_and_wrong_ones_once(service: Service) -> None:
    user, client = await service.add_account(), await service.add_client()
    headers = bearer((await service.sign_in(client, user)).json()["access_token"])
    for current in ("wrong", "wrong again", PASSWORD):
        await service.http.put(
            "/account/v1/password", data={"current_password": current, "new_password": f"{PASSWORD} again"}, headers=headers
        )
    found = await events_after_sign_in(service, user.id)
    assert ["session.started", "password.change_refused", "password.changed"] == kinds(found)
    assert {("account", user.id, client.client_id)} == {
        (event["actor_kind"], event["actor_id"], event["client_id"]) for event in found
    }
    assert PASSWORD not in str(found)


async def failures_of(service: Service, client: Client) -> list[dict[str, Any]]:
    return [event for event in await events_of(service, client_id=client.client_id) if event["kind"] != "client.created"]


@pytest.mark.own_service
async def test_failed_sign_ins_are_one_event_for_each_client_prefix_and_minute(service: Service) -> None:
    user, client, other = await service.add_account(), await service.add_client(), await service.add_client()
    for wrong in ("one", "two", "three"):
        assert 400 == (await service.sign_in(client, user, wrong)).status_code
    assert 400 == (await service.sign_in(other, user, "wrong")).status_code
    transport = httpx2.ASGITransport(app=service.app, client=("198.51.100.9", 1234))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        form = {"grant_type": "password", "client_id": client.client_id, "username": "my password, typed here", "password": "x"}
        assert 400 == (await http.post("/token", data=form)).status_code
    service.clock.now += 60
    assert 400 == (await service.sign_in(client, user, "wrong")).status_code
    found = await failures_of(service, client)
    assert ["sign_in.failed"] * 3 == kinds(found)
    assert [user.id, "None", user.id] == [str(event["subject"]) for event in found]
    assert 1 == len(await failures_of(service, other))
    # A keyed hash of the name: the same for the same name, and no text that a person typed.
    digests = [event["personal"]["name_digest"] for event in found]
    assert digests[0] == digests[2] != digests[1]
    assert "typed here" not in str(found)
    assert {32} == {len(event["once"]) for event in found}


async def test_a_failed_sign_in_runs_the_same_statements_whether_or_not_the_account_exists(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, disabled = await service.add_account(), await service.add_account()
    await service.database.execute("UPDATE authmint.accounts SET state = 'disabled' WHERE id = $1", disabled.id)
    seen: list[list[str]] = []
    for method in ("fetch_row", "fetch_all", "fetch_value", "execute"):
        monkeypatch.setattr(Database, method, _recording(getattr(Database, method), lambda: seen[-1]))
    for name in (user.username, "nobody-at-all", disabled.username, "a\0b"):
        client = await service.add_client()
        for _ in range(2):
            seen.append([])
            form = {"grant_type": "password", "client_id": client.client_id, "username": name, "password": "wrong"}
            assert 400 == (await service.token(**form)).status_code
    assert 1 == len({str(statements) for statements in seen[::2]})
    assert 1 == len({str(statements) for statements in seen[1::2]})


def _recording(
    whole: Callable[..., Awaitable[object]], statements: Callable[[], list[str]]
) -> Callable[..., Awaitable[object]]:
    async def recorded(database: Database, statement: str, *values: object) -> object:
        # Neither background tasks nor this test's own changes have a request.
        if current_fields():
            statements().append(statement)
        return await whole(database, statement, *values)

    return recorded


async def test_a_client_that_does_not_prove_who_it_is_is_recorded_once_and_its_successes_are_not(
    service: Service, secret: str
) -> None:
    robot = await service.add_client(secret)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id}
    for tried in (secret, "wrong", "wrong again"):
        await service.token(client_secret=tried, **form)
    found = await failures_of(service, robot)
    assert ["client.refused"] == kinds(found)
    assert (robot.subject, None) == (found[0]["actor_id"], found[0]["subject"])
    unknown = f"nobody-{robot.client_id}"
    assert 401 == (await service.token(grant_type="client_credentials", client_id=unknown, client_secret="x")).status_code
    assert [] == await events_of(service, client_id=unknown)
    assert 1 <= len(await events_of(service, actor_id="unknown"))


async def test_who_guesses_from_many_networks_fills_one_event_more_and_no_table(server_dsn: str) -> None:
    clock = Clock()
    async with migrated_database(server_dsn) as dsn, (database := Database(size=4)).open(dsn):
        first, second = (FailureRecorder(database, KEYS, clock) for _ in range(2))

        async def fail(recorder: FailureRecorder, number: int) -> None:
            source = RequestSource(request_id="r", ip_address=f"10.{number // 256}.{number % 256}.7", user_agent=None)
            await recorder.record(Event(kind=EventKind.SIGN_IN_FAILED, actor=OPERATOR, source=source, client_id="spa"))

        for number in range(MAX_A_MINUTE + 50):
            await fail(first, number)
        # Another process records none of them again; two at once record one.
        await asyncio.gather(*(fail(second, number) for number in range(20) for _ in range(2)))
        count = "SELECT count(*) FROM authmint.events"
        assert MAX_A_MINUTE + 1 == await database.fetch_value(count)
        clock.now += 60
        await fail(first, 1)
        assert MAX_A_MINUTE + 2 == await database.fetch_value(count)


async def test_failures_at_once_are_as_few_statements_and_events_as_one_after_another(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, ran = FailureRecorder(empty_database, KEYS, Clock()), list[str]()
    execute = empty_database.execute

    async def counted(statement: str, *values: object) -> None:
        ran.append(statement)
        await execute(statement, *values)

    monkeypatch.setattr(empty_database, "execute", counted)

    async def fail(number: int) -> None:
        source = RequestSource(request_id="r", ip_address=f"10.{number // 256}.{number % 256}.7", user_agent=None)
        await recorder.record(Event(kind=EventKind.SIGN_IN_FAILED, actor=OPERATOR, source=source, client_id="spa"))

    await asyncio.gather(*(fail(1) for _ in range(500)))
    assert 1 == len(ran)
    await asyncio.gather(*(fail(number) for number in range(3 * MAX_A_MINUTE)))
    assert MAX_A_MINUTE + 1 == len(ran) == await empty_database.fetch_value("SELECT count(*) FROM authmint.events")


async def test_a_record_that_is_cancelled_is_made_by_the_next_failure(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, event = FailureRecorder(empty_database, KEYS, Clock()), Event(kind=EventKind.SIGN_IN_FAILED, actor=OPERATOR)
    with monkeypatch.context() as patch:
        patch.setattr(empty_database, "execute", lambda *_: asyncio.Event().wait())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await recorder.record(event)
    await recorder.record(event)
    assert 1 == await empty_database.fetch_value("SELECT count(*) FROM authmint.events")


async def test_a_failure_while_the_database_is_away_is_refused_all_the_same_and_recorded_later(server_dsn: str) -> None:
    async with migrated_database(server_dsn) as dsn:
        database = Database(size=1)
        recorder = FailureRecorder(database, KEYS, Clock())
        event = Event(kind=EventKind.CLIENT_REFUSED, actor=OPERATOR, client_id="spa")
        await recorder.record(event)
        async with database.open(dsn):
            await recorder.record(event)
            assert 1 == await database.fetch_value("SELECT count(*) FROM authmint.events")


async def test_a_fact_recorded_outside_a_request_reaches_no_other(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = current_record(), current_record()
    first.add(sub="leaked", error="leaked")
    assert first is not second
    assert {} == second.fields == current_fields()
    capfd.readouterr()
    await service.http.get("/livez")
    assert "leaked" not in capfd.readouterr().err
    # Beside each other: each request has a record of its own, and this test, outside of them, none.
    await asyncio.gather(*(service.http.get(f"/nothing-{number}") for number in range(5)))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert 5 == len({line["request_id"] for line in lines})
    assert {} == current_fields()
