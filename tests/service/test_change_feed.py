"""The change feed on a real database: transactions that have the turn, readings, cached clients, and outages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import asyncpg
import pytest

from authmint_service.change_feed import (
    MAX_AGE_SECONDS,
    MAX_OUTAGE_SECONDS,
    MAX_TRANSACTION_SECONDS,
    ChangeFeed,
    ChangeKind,
    ChangeTransaction,
    ChangeUndone,
    change_transaction,
    repeat_if_undone,
)
from authmint_service.change_feed.transaction import LIMIT_PAUSES, TAKE_TURN
from authmint_service.clients import Client, ClientCache, ClientStore, secret_hash
from authmint_service.database import Database
from authmint_service.database_clock import DatabaseClock
from authmint_service.errors import DatabaseUnavailable, InvalidValue
from tests.actors import OPERATOR
from tests.service.conftest import Clock, StartService, make_settings, migrated_database
from tests.service.signing import NOW, policy, store_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def own_dsn(server_dsn: str) -> AsyncIterator[str]:
    async with migrated_database(server_dsn) as dsn:
        yield dsn


@pytest.fixture
async def database(own_dsn: str) -> AsyncIterator[Database]:
    async with (database := Database(size=8)).open(own_dsn):
        yield database


def a_client(name: str, **changes: object) -> Client:
    client = Client(
        client_id=name, name=name, confidential=True, grants=frozenset({"client_credentials"}), scopes=frozenset(),
        resources=("orders",), default_resources=("orders",), secret_hashes=(secret_hash(name),),
    )  # fmt: skip
    return replace(client, **changes)  # type: ignore[arg-type]  # the keywords are those of Client


async def rows_of(database: Database) -> list[tuple[int, str, str, bool]]:
    found = await database.fetch_all("SELECT n, kind, name, takes FROM authmint.changes ORDER BY n")
    return [(row["n"], row["kind"], row["name"], row["takes"]) for row in found]


def feed_of(database: Database, elapsed: Callable[[], float]) -> ChangeFeed:
    return ChangeFeed(database, DatabaseClock(Clock()), elapsed)


async def test_n_is_the_clock_in_milliseconds_and_always_greater_than_the_last(database: Database) -> None:
    async with change_transaction(database) as change:
        await change.record(ChangeKind.CLIENT, *(f"c{number}" for number in range(500)), takes=False)
        await change.record(ChangeKind.ORIGINS, "a", takes=True)
    *several, third = await rows_of(database)
    first = several[0]
    assert [(first[0] + number, "client", f"c{number}", False) for number in range(500)] == several
    assert ("origins", "a", True) == third[1:]
    assert third[0] > several[-1][0]
    now = await database.fetch_value("SELECT extract(epoch FROM clock_timestamp()) * 1000")
    assert 0 <= now - first[0] < 10_000
    # A clock that was set back by an hour.
    ahead = third[0] + 3_600_000
    await database.execute("INSERT INTO authmint.changes VALUES ($1, 'client', 'c', false, now())", ahead)
    async with change_transaction(database) as change:
        await change.record(ChangeKind.CLIENT, "d", takes=False)
    assert ahead + 1 == (await rows_of(database))[-1][0]


async def test_what_changes_clients_and_keys_records_what_it_gives_and_takes(database: Database, own_dsn: str) -> None:
    store, keys = ClientStore(database), store_of(database, make_settings(own_dsn))
    spa = a_client("spa", confidential=False, secret_hashes=(), grants=frozenset({"password", "refresh_token"}))
    await store.add(replace(spa, refresh_cookie=True, origins=("https://app.example",)), NOW, actor=OPERATOR)
    await store.add(a_client("robot"), NOW, actor=OPERATOR)
    await store.disable("spa", NOW, actor=OPERATOR)
    await store.enable("robot", NOW, actor=OPERATOR)
    assert not await store.disable("nobody", NOW, actor=OPERATOR)
    expected = [
        ("client", "spa", False), ("origins", "spa", False), ("client", "robot", False), ("client", "spa", True),
        ("origins", "spa", True), ("client", "robot", False),
    ]  # fmt: skip
    assert expected == [row[1:] for row in await rows_of(database)]
    (first,) = (await keys.rotate_if_due(policy(), NOW, actor=OPERATOR)).created
    assert not await keys.rotate_if_due(policy(), NOW, actor=OPERATOR)
    second, _ = await keys.announce_new(policy(), NOW, actor=OPERATOR)
    await keys.revoke(second, NOW, actor=OPERATOR)
    with pytest.raises(InvalidValue):
        await keys.revoke(second, NOW, actor=OPERATOR)
    assert [
        ("signing_key", first, False), ("signing_key", second, False), ("signing_key", second, True),
    ] == [row[1:] for row in await rows_of(database)][len(expected) :]  # fmt: skip


@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=pytest.mark.long)])
async def test_changes_of_several_kinds_side_by_side_all_finish_and_a_reader_misses_none(
    database: Database, own_dsn: str, rounds: int
) -> None:
    clients, keys = ClientStore(database), store_of(database, make_settings(own_dsn))
    await keys.rotate_if_due(policy(), NOW, actor=OPERATOR)
    for number in range(4):
        await clients.add(a_client(f"c{number}"), NOW, actor=OPERATOR)

    async def change_clients(number: int) -> None:
        for _ in range(rounds):
            assert await clients.disable(f"c{number % 4}", NOW, actor=OPERATOR)
            assert await clients.enable(f"c{number % 4}", NOW, actor=OPERATOR)

    async def change_keys() -> None:
        for _ in range(rounds):
            try:
                kid, _ = await keys.announce_new(policy(), NOW, actor=OPERATOR)
                await keys.revoke(kid, NOW, actor=OPERATOR)
            except InvalidValue:
                # The other one's key is next.
                continue

    async def change_all_at_once(number: int) -> None:
        for _ in range(rounds):
            async with change_transaction(database) as change:
                # In opposite orders, which would be a deadlock without the turn.
                for name in ("c0", "c1")[:: 1 if number % 2 else -1]:
                    await change.connection.execute("UPDATE authmint.clients SET name = name WHERE client_id = $1", name)
                await change.record(ChangeKind.CLIENT, "c0", "c1", takes=False)

    seen: list[int] = []
    async with (own := Database(size=1)).open(own_dsn):
        feed = feed_of(own, count().__next__)
        start = (await feed.read()).n
        working = asyncio.gather(
            *(change_clients(number) for number in range(6)), *(change_keys() for _ in range(2)),
            *(change_all_at_once(number) for number in range(4)),
        )  # fmt: skip
        while not working.done():
            seen += [change.n for change in (await feed.read()).changes]
        await working
        seen += [change.n for change in (await feed.read()).changes]
    assert [row[0] for row in await rows_of(database) if row[0] > start] == seen


async def hang(_: object) -> None:
    await asyncio.Event().wait()


async def be_slow(change: ChangeTransaction) -> None:
    await change.connection.execute("SELECT pg_sleep(30)")


async def think(change: ChangeTransaction) -> None:
    for _ in range(100):
        await change.connection.execute("SELECT pg_sleep(0.1)")


@pytest.mark.parametrize("work", [hang, be_slow, think])
async def test_a_transaction_that_takes_too_long_is_undone_and_releases_the_turn(
    database: Database, work: Callable[[ChangeTransaction], Awaitable[None]]
) -> None:
    store = ClientStore(database)
    await store.add(a_client("robot"), NOW, actor=OPERATOR)
    before = await rows_of(database)

    async def take_too_long() -> None:
        async with change_transaction(database) as change:
            await change.connection.execute("UPDATE authmint.clients SET enabled = false")
            await change.record(ChangeKind.CLIENT, "robot", takes=True)
            await work(change)

    async with asyncio.timeout(20 * MAX_TRANSACTION_SECONDS):
        with pytest.raises(DatabaseUnavailable):
            await take_too_long()
        assert before == await rows_of(database)
        loaded = await store.load("robot")
        assert loaded.client is not None
        assert loaded.client.enabled
        assert await store.disable("robot", NOW, actor=OPERATOR)


@pytest.mark.parametrize(("slow", "is_made"), [(0, True), (1, True), (4, True), (5, False)])
async def test_a_change_that_took_too_long_is_made_again_and_not_without_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, slow: int, is_made: bool
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.transaction.MAX_TRANSACTION_SECONDS", 0.2)
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    before, attempts = await rows_of(database), count(1)

    @repeat_if_undone
    async def change_robot() -> int:
        async with change_transaction(database) as change:
            await change.record(ChangeKind.CLIENT, "robot", takes=True)
            if (attempt := next(attempts)) <= slow:
                await hang(database)
            return attempt

    if is_made:
        assert slow + 1 == await change_robot()
    else:
        with pytest.raises(ChangeUndone):
            await change_robot()
    assert len(before) + is_made == len(await rows_of(database))


async def test_a_change_whose_connection_the_database_closed_before_the_commit_is_made_again(database: Database) -> None:
    """PostgreSQL does so when a transaction takes too long, and may be faster than the process's own deadline."""
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    before, attempts = await rows_of(database), count(1)

    @repeat_if_undone
    async def change_robot() -> int:
        async with change_transaction(database) as change:
            if (attempt := next(attempts)) == 1:
                await change.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            await change.record(ChangeKind.CLIENT, "robot", takes=True)
            return attempt

    assert 2 == await change_robot()
    assert len(before) + 1 == len(await rows_of(database))


async def test_another_failure_of_a_change_is_not_tried_again(database: Database) -> None:
    attempts = 0

    @repeat_if_undone
    async def fail() -> None:
        nonlocal attempts
        attempts += 1
        async with change_transaction(database) as change:
            await change.connection.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await fail()
    assert 1 == attempts


async def test_a_process_that_stops_when_it_has_the_turn_loses_it(database: Database, own_dsn: str) -> None:
    """What another process sees of one that is stopped: a connection that has the turn and says nothing."""
    stopped = await asyncpg.connect(own_dsn)
    await stopped.execute("BEGIN")
    await stopped.fetchval(LIMIT_PAUSES, "500")
    await stopped.fetchval(TAKE_TURN)
    async with asyncio.timeout(20 * MAX_TRANSACTION_SECONDS):
        await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    assert stopped.is_closed()


class Elapsed:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Cached:
    """A cache of clients in a process, whose database a test may take away."""

    cache: ClientCache
    feed: ChangeFeed
    elapsed: Elapsed
    clock: Clock
    disconnect: Callable[[], Awaitable[object]]
    statements: list[str]


class CountingDatabase(Database):
    """A database that lists the statements that were sent to it."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.statements: list[str] = []
        self.is_gone = False

    def note(self, statement: str) -> None:
        if self.is_gone:
            raise DatabaseUnavailable("gone")
        self.statements.append("load" if "c.client_id" in statement else "read")

    async def fetch_row(self, statement: str, *values: object) -> asyncpg.Record | None:
        self.note(statement)
        return await super().fetch_row(statement, *values)

    async def fetch_all(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        self.note(statement)
        return await super().fetch_all(statement, *values)


@pytest.fixture
async def cached(own_dsn: str) -> AsyncIterator[Cached]:
    async with (own := CountingDatabase()).open(own_dsn):
        elapsed, clock = Elapsed(), Clock()
        feed = ChangeFeed(own, DatabaseClock(clock), elapsed)

        async def disconnect() -> None:
            own.is_gone = True

        yield Cached(ClientCache(ClientStore(own), feed, clock), feed, elapsed, clock, disconnect, own.statements)


async def test_a_client_is_loaded_once_and_again_after_its_change_alone(cached: Cached, database: Database) -> None:
    store = ClientStore(database)
    await store.add(a_client("robot"), NOW, actor=OPERATOR)
    for _ in range(3):
        assert await cached.cache.find("robot") == (await store.load("robot")).client
        assert await cached.cache.find("nobody") is None
    assert ["read", "load", "load"] == cached.statements
    await store.add(a_client("nobody"), NOW, actor=OPERATOR)
    await cached.feed.read()
    found = await cached.cache.find("nobody")
    assert found is not None
    assert await cached.cache.find("robot") is not None
    assert ["read", "load", "load", "read", "load"] == cached.statements


async def test_without_a_reading_for_five_seconds_the_feed_is_asked_before_a_cached_client_is_used(
    cached: Cached, database: Database
) -> None:
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    await cached.cache.find("robot")
    await ClientStore(database).disable("robot", NOW, actor=OPERATOR)
    cached.elapsed.now += MAX_AGE_SECONDS - 0.01
    still = await cached.cache.find("robot")
    assert still is not None
    assert still.enabled
    cached.elapsed.now += 0.01
    # All who wait are answered by one question.
    found = await asyncio.gather(*(cached.cache.find("robot") for _ in range(10)))
    assert [False] * 10 == [client is not None and client.enabled for client in found]
    assert 2 == cached.statements.count("read")


@pytest.mark.parametrize("back", [0.001, 10.0, 1e6])
async def test_a_clock_that_was_set_back_makes_no_reading_young(cached: Cached, database: Database, back: float) -> None:
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    await cached.cache.find("robot")
    cached.elapsed.now -= back
    await cached.cache.find("robot")
    assert 2 == cached.statements.count("read")


async def test_in_an_outage_a_cached_client_serves_for_a_minute_and_no_other_one(cached: Cached, database: Database) -> None:
    store = ClientStore(database)
    for name in ("robot", "other"):
        await store.add(a_client(name), NOW, actor=OPERATOR)
    assert await cached.cache.find("robot") is not None
    await cached.disconnect()
    for seconds in (0, MAX_AGE_SECONDS, MAX_OUTAGE_SECONDS - MAX_AGE_SECONDS - 0.01):
        cached.elapsed.now += seconds
        assert await cached.cache.find("robot") is not None
        with pytest.raises(DatabaseUnavailable):
            await cached.cache.find("other")
    cached.elapsed.now += 0.01
    with pytest.raises(DatabaseUnavailable):
        await cached.cache.find("robot")


async def test_in_an_outage_no_client_serves_that_is_known_to_have_changed(cached: Cached, database: Database) -> None:
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    assert await cached.cache.find("robot") is not None
    await ClientStore(database).disable("robot", NOW, actor=OPERATOR)
    await cached.feed.read()
    await cached.disconnect()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await cached.cache.find("robot")
        cached.elapsed.now += MAX_AGE_SECONDS


async def test_a_secret_with_an_end_is_not_accepted_after_it_although_nothing_was_changed(
    cached: Cached, database: Database
) -> None:
    await ClientStore(database).add(a_client("robot"), NOW, actor=OPERATOR)
    ends = cached.clock.now = 2_000_000_000.0
    await database.execute("UPDATE authmint.client_secrets SET expires_at = to_timestamp($1)", ends + 100)
    for seconds, loads in ((0, 1), (99, 1), (1, 2), (0, 3)):
        cached.clock.now += seconds
        assert await cached.cache.find("robot") is not None
        assert loads == cached.statements.count("load")


async def test_a_load_that_was_under_way_while_the_change_arrived_is_not_used_again(
    cached: Cached, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, load = ClientStore(database), ClientStore.load
    await store.add(a_client("robot"), NOW, actor=OPERATOR)
    await cached.feed.read()
    loaded, may_end = asyncio.Event(), asyncio.Event()

    async def load_slowly(self: ClientStore, client_id: str) -> object:
        found = await load(self, client_id)
        loaded.set()
        await may_end.wait()
        return found

    monkeypatch.setattr(ClientStore, "load", load_slowly)
    finding = asyncio.create_task(cached.cache.find("robot"))
    await loaded.wait()
    await store.disable("robot", NOW, actor=OPERATOR)
    await cached.feed.read()
    may_end.set()
    await finding
    found = await cached.cache.find("robot")
    assert found is not None
    assert not found.enabled


async def test_a_process_that_reads_less_than_it_has_stops_issuing_and_says_so(
    own_dsn: str, start_service: StartService, secret: str
) -> None:
    service = await start_service(at=own_dsn)
    robot = await service.add_client(secret)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    assert 200 == (await service.token(**form)).status_code
    # A copy from before the client was changed.
    await service.change(ChangeKind.CLIENT, robot.client_id, "SELECT 1")
    await service.database.execute("DELETE FROM authmint.changes WHERE n = (SELECT max(n) FROM authmint.changes)")
    await service.read_changes()
    refused = await service.token(**form)
    assert (503, True) == (refused.status_code, "retry-after" in refused.headers)
    ready = await service.http.get("/readyz")
    check = ready.json()["checks"]["changes"]
    assert (503, "behind") == (ready.status_code, check["status"])
    assert "after-restore" in check["message"]
    # What was lost may be more than the last row: nothing that was cached is used.
    await service.database.execute("UPDATE authmint.clients SET enabled = false WHERE client_id = $1", robot.client_id)
    await service.change(ChangeKind.CLIENT, "another", "SELECT 1")
    assert 200 == (await service.http.get("/readyz")).status_code
    assert 401 == (await service.token(**form)).status_code


async def test_a_process_that_starts_with_that_database_serves(own_dsn: str, start_service: StartService, secret: str) -> None:
    first = await start_service(at=own_dsn)
    robot = await first.add_client(secret)
    await first.database.execute("DELETE FROM authmint.changes")
    second = await start_service(at=own_dsn)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    assert 200 == (await second.token(**form)).status_code
