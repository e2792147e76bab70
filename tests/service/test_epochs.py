"""The epoch of access tokens: which reading a token is made from, and what happens when client or database changed."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx2
import pytest

from authmint_service.change_feed import (
    MAX_EPOCH_AGE_SECONDS,
    MAX_OUTAGE_SECONDS,
    ChangeFeed,
    ChangeKind,
)
from authmint_service.clients import Client, ClientStore
from authmint_service.database import Database, to_datetime
from authmint_service.database_clock import DatabaseClock
from authmint_service.errors import DatabaseUnavailable
from authmint_service.sessions import RotationStore, SessionStore
from tests.actors import OPERATOR
from tests.service.conftest import Clock, Service, StartService, migrated_database, record_change

pytestmark = pytest.mark.anyio


def claims_of(answer: httpx2.Response) -> dict[str, Any]:
    assert 200 == answer.status_code, answer.text
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(answer.json()["access_token"].split(".")[1] + "=="))
    return claims


async def greatest_n(database: Database) -> int:
    n: int = await database.fetch_value("SELECT max(n) FROM authmint.changes")
    return n


async def record(database: Database, name: str = "another", *, kind: ChangeKind = ChangeKind.CLIENT) -> int:
    """Make a change of which no process has learned yet, and return its n."""
    await record_change(database, kind, name)
    return await greatest_n(database)


async def service_token(service: Service, robot: Client, secret: str) -> httpx2.Response:
    return await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)


@pytest.fixture
async def alone(start_service: StartService, server_dsn: str) -> Any:
    """A service on a database where no other test makes changes."""
    async with migrated_database(server_dsn) as dsn:
        yield await start_service(at=dsn)


async def test_a_sign_in_and_a_refresh_have_the_epoch_of_their_own_statement(alone: Service) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    answer = await alone.sign_in(client, user)
    for _ in range(3):
        assert await greatest_n(alone.database) == claims_of(answer)["epoch"]
        n = await record(alone.database)
        answer = await alone.refresh(client, answer.json()["refresh_token"])
        assert n == claims_of(answer)["epoch"]


async def test_a_repeated_refresh_has_the_epoch_of_the_statement_that_found_the_session(alone: Service) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    first = await alone.refresh(client, token)
    n = await record(alone.database)
    again = await alone.refresh(client, token)
    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    assert n == claims_of(again)["epoch"]


async def test_a_service_has_the_epoch_of_the_last_reading(alone: Service, secret: str) -> None:
    robot = await alone.add_client(secret)
    n = await greatest_n(alone.database)
    await alone.read_changes()
    assert n == claims_of(await service_token(alone, robot, secret))["epoch"]
    n = await record(alone.database)
    await alone.read_changes()
    assert n == claims_of(await service_token(alone, robot, secret))["epoch"]


async def holding(dsn: str, statement: str, *values: object) -> Callable[[], Awaitable[None]]:
    """Lock rows on another connection. Return what ends the lock."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("BEGIN")
    await connection.fetch(statement, *values)

    async def release() -> None:
        await connection.execute("COMMIT")
        await connection.close()

    return release


async def is_waiting(database: Database) -> None:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while not await database.fetch_value(statement):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_first", [True, False], ids=["sign-in", "refresh"])
async def test_a_statement_that_waited_for_a_lock_has_the_epoch_of_what_it_saw_before(
    start_service: StartService, server_dsn: str, *, is_first: bool
) -> None:
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn)
        client, user = await service.add_client(), await service.add_account()
        token = (await service.sign_in(client, user)).json()["refresh_token"]
        before = await greatest_n(service.database)
        locked = "SELECT FROM authmint.clients FOR UPDATE" if is_first else "SELECT FROM authmint.sessions FOR UPDATE"
        release = await holding(dsn, locked)
        asked = service.sign_in(client, user) if is_first else service.refresh(client, token)
        answer = asyncio.create_task(asked)
        await is_waiting(service.database)
        n = await record(service.database)
        await release()
        assert (before, True) == (claims_of(await answer)["epoch"], n > before)


async def test_a_client_that_lost_a_scope_is_applied_as_the_statement_saw_it_although_the_cache_had_another(
    alone: Service,
) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    await alone.database.execute("UPDATE authmint.clients SET scopes = '{orders:read}'")
    await record_change(alone.database, ChangeKind.CLIENT, client.client_id)
    n = await greatest_n(alone.database)
    claims = claims_of(await alone.refresh(client, token))
    assert (n, "orders:read") == (claims["epoch"], claims["scope"])


BETWEEN = {
    "it lost a scope": ("UPDATE authmint.clients SET scopes = '{orders:read}'", 200, None),
    "it lost all": ("UPDATE authmint.clients SET scopes = '{}'", 400, "invalid_scope"),
    "it was disabled": ("UPDATE authmint.clients SET enabled = false", 401, "invalid_client"),
    "it lost the grant": ("UPDATE authmint.clients SET grants = '{password}'", 400, "unauthorized_client"),
}


@pytest.mark.parametrize("case", BETWEEN)
async def test_a_change_between_the_rotation_and_the_token_is_applied_and_a_refusal_undoes_the_rotation(
    alone: Service, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    statement, status, error = BETWEEN[case]
    client, user = await alone.add_client(refresh_grace_seconds=0), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    rotate = RotationStore.rotate

    async def rotate_and_change(*values: Any, **named: Any) -> Any:
        rotated = await rotate(*values, **named)
        await alone.change(ChangeKind.CLIENT, client.client_id, statement)
        return rotated

    with monkeypatch.context() as patch:
        patch.setattr(RotationStore, "rotate", rotate_and_change)
        answer = await alone.refresh(client, token)
    assert (status, error) == (answer.status_code, answer.json().get("error"))
    if status == 200:
        assert "orders:read" == claims_of(answer)["scope"]
        return
    back = "UPDATE authmint.clients SET enabled = true, scopes = '{orders:read}', grants = '{password,refresh_token}'"
    await alone.change(ChangeKind.CLIENT, client.client_id, back)
    alone.clock.now += 3600
    assert 200 == (await alone.refresh(client, token)).status_code


async def test_a_secret_that_was_removed_while_the_epoch_was_read_gets_no_token(
    alone: Service, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    robot = await alone.add_client(secret)
    assert 200 == (await service_token(alone, robot, secret)).status_code
    epoch = ChangeFeed.epoch

    async def remove_and_read(self: ChangeFeed) -> Any:
        await alone.change(ChangeKind.CLIENT, robot.client_id, "DELETE FROM authmint.client_secrets")
        return await epoch(self)

    monkeypatch.setattr(ChangeFeed, "epoch", remove_and_read)
    answer = await service_token(alone, robot, secret)
    assert (401, "invalid_client") == (answer.status_code, answer.json()["error"])


async def test_a_database_that_knows_less_gives_no_token_and_the_refresh_token_stays_good(alone: Service) -> None:
    client, user = await alone.add_client(refresh_grace_seconds=0), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    n = await record(alone.database)
    await alone.read_changes()
    await alone.database.execute("DELETE FROM authmint.changes WHERE n = $1", n)
    refused = await alone.refresh(client, token)
    assert (503, True) == (refused.status_code, "retry-after" in refused.headers)
    assert 503 == (await alone.sign_in(client, user)).status_code
    await record(alone.database)
    await alone.read_changes()
    alone.clock.now += 3600
    assert 200 == (await alone.refresh(client, token)).status_code


async def until(service: Service, sid: str) -> Any:
    return await service.database.fetch_value("SELECT tokens_until FROM authmint.sessions WHERE id = $1", sid)


@pytest.mark.own_service
async def test_a_session_knows_until_when_its_last_access_token_lives(service: Service) -> None:
    client, user = await service.add_client(), await service.add_account()
    answer = await service.sign_in(client, user)
    token, sid = answer.json()["refresh_token"], claims_of(answer)["sid"]
    assert to_datetime(service.clock() + 300) == await until(service, sid)
    service.clock.now += 100
    child = (await service.refresh(client, token)).json()["refresh_token"]
    assert to_datetime(service.clock() + 300) == await until(service, sid)
    # A repeat rotates nothing, and its access token is as new as any.
    service.clock.now += 29
    repeated = claims_of(await service.refresh(client, token))
    assert to_datetime(service.clock() + 300) == await until(service, sid)
    assert to_datetime(repeated["exp"]) <= await until(service, sid)
    # Another process, whose clock is behind, takes nothing back.
    latest = await until(service, sid)
    service.clock.now -= 20
    for presented in (token, child):
        assert 200 == (await service.refresh(client, presented)).status_code
        assert latest == await until(service, sid)


@pytest.mark.own_service
async def test_a_session_that_is_revoked_while_its_refresh_is_repeated_gets_no_token(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user = await service.add_client(), await service.add_account()
    token = (await service.sign_in(client, user)).json()["refresh_token"]
    await service.refresh(client, token)
    find = RotationStore.find

    async def find_and_revoke(*values: Any) -> Any:
        found = await find(*values)
        await service.database.execute("UPDATE authmint.sessions SET revoked_at = now() WHERE account_id = $1", user.id)
        return found

    monkeypatch.setattr(RotationStore, "find", find_and_revoke)
    assert 400 == (await service.refresh(client, token)).status_code


class Questions(Database):
    """A database that counts the questions for changes, and that a test makes slow or takes away."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.count, self.is_gone = 0, False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch_all(self, statement: str, *values: object) -> Any:
        self.count += 1
        if self.is_gone:
            raise DatabaseUnavailable("gone")
        rows = await super().fetch_all(statement, *values)
        await self.may_answer.wait()
        return rows


class Feed:
    """A change feed whose clock a test sets."""

    def __init__(self, database: Questions) -> None:
        self.database, self.clock, self.elapsed = database, Clock(), 1000.0
        self.feed = ChangeFeed(database, DatabaseClock(self.clock), lambda: self.elapsed)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.elapsed += seconds


@pytest.fixture
async def own(server_dsn: str) -> Any:
    async with migrated_database(server_dsn) as dsn, (database := Questions()).open(dsn):
        await record(database)
        yield Feed(database)


async def test_a_reading_that_was_asked_for_within_three_quarters_of_a_second_serves_as_it_is(own: Feed) -> None:
    first = await own.feed.epoch()
    asked_at = own.clock()
    await record(own.database)
    own.wait(MAX_EPOCH_AGE_SECONDS)
    reading = await own.feed.epoch()
    assert first.epoch == reading.epoch
    assert asked_at == pytest.approx(reading.read_at)
    assert 1 == own.database.count


async def test_an_older_reading_is_renewed_once_for_all_who_wait(own: Feed) -> None:
    await own.feed.epoch()
    n = await record(own.database)
    own.wait(MAX_EPOCH_AGE_SECONDS + 0.01)
    readings = await asyncio.gather(*(own.feed.epoch() for _ in range(20)))
    assert {(n, own.clock())} == {(reading.epoch, reading.read_at) for reading in readings}
    assert 2 == own.database.count


async def test_a_question_that_was_under_way_for_too_long_is_asked_again(own: Feed) -> None:
    await own.feed.read()
    own.database.may_answer.clear()
    own.wait(2)
    slow = asyncio.create_task(own.feed.read())
    await asyncio.sleep(0.05)
    # It has been sent, and answered from a snapshot without what comes now.
    n = await record(own.database)
    own.wait(1)
    asked = asyncio.create_task(own.feed.epoch())
    await asyncio.sleep(0)
    own.database.may_answer.set()
    assert n == (await asked).epoch
    await slow


@pytest.mark.parametrize("seconds", [0.8, 10, MAX_OUTAGE_SECONDS - 0.01])
async def test_in_an_outage_the_old_reading_serves_and_is_as_old_as_it_is(own: Feed, seconds: float) -> None:
    first, asked_at = await own.feed.epoch(), own.clock()
    own.database.is_gone = True
    own.wait(seconds)
    reading = await own.feed.epoch()
    assert first.epoch == reading.epoch
    assert asked_at == pytest.approx(reading.read_at)


async def test_after_a_minute_of_an_outage_there_is_no_reading(own: Feed) -> None:
    await own.feed.epoch()
    own.database.is_gone = True
    own.wait(MAX_OUTAGE_SECONDS)
    with pytest.raises(DatabaseUnavailable):
        await own.feed.epoch()


async def test_a_process_that_reads_less_than_it_has_has_no_reading(own: Feed) -> None:
    await own.feed.epoch()
    await own.database.execute("DELETE FROM authmint.changes")
    own.wait(1)
    with pytest.raises(DatabaseUnavailable):
        await own.feed.epoch()


async def test_a_clock_that_was_set_does_not_make_a_reading_young(own: Feed) -> None:
    await own.feed.epoch()
    own.wait(0.5)
    # An operator sets the clock of the computer forward: by the new clock too the question was sent half a second ago.
    own.clock.now += 3600
    assert own.clock() - 0.5 == pytest.approx((await own.feed.epoch()).read_at)


async def test_to_follow_a_statement_asks_until_its_n_is_known_and_refuses_one_that_knew_less(own: Feed) -> None:
    await own.feed.read()
    known = own.feed.n
    assert known is not None
    await own.feed.follow(known, known=known)
    assert 1 == own.database.count
    n = await record(own.database)
    await own.feed.follow(n, known=known)
    assert (2, n) == (own.database.count, own.feed.n)
    with pytest.raises(DatabaseUnavailable):
        await own.feed.follow(known, known=n)
    # A statement of a database that is ahead of the one that the feed reads.
    with pytest.raises(DatabaseUnavailable):
        await own.feed.follow(n + 1, known=n)


def test_no_row_is_locked_and_no_function_is_called_for_the_epoch() -> None:
    for statement in (RotationStore.ROTATE, RotationStore._FIND, SessionStore._START):
        assert 1 == statement.count("(SELECT max(n) FROM authmint.changes)")


async def test_a_disabled_client_is_refused_although_the_cache_has_it_still(alone: Service) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    await ClientStore(alone.database).disable(client.client_id, alone.clock(), actor=OPERATOR)
    assert 400 <= (await alone.refresh(client, token)).status_code < 500
