"""The outbox: what an event causes is delivered once or more, by one process at a time, for a day, and then kept as dead."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg
import pytest

from authmint_service.database import Database, to_datetime
from authmint_service.deliveries import Delivery, DeliveryFailed, DeliveryStore, Outbox
from authmint_service.deliveries.delivery import DELAYS, MAX_ATTEMPTS, delay_after
from authmint_service.deliveries.store import CLAIM_SECONDS
from authmint_service.events import Event, EventKind
from authmint_service.features import Feature
from authmint_service.logs import configure_logging
from tests.actors import OPERATOR
from tests.service.conftest import Clock, make_settings, migrated_database, open_http

pytestmark = pytest.mark.anyio

# What a store does: one statement makes the change, records it, and puts into the outbox what follows of it.
DISABLE = """
    WITH disabled AS (UPDATE authmint.accounts SET state = 'disabled' WHERE id = $1 AND state = 'active' RETURNING id),
         event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                personal, salt, personal_digest, occurred_at)
                   SELECT $2, $3, $4, coalesce(id, $5), $6, $7, $8, $9, $10, $11, $12 FROM disabled
                   RETURNING id),
         delivery AS (INSERT INTO authmint.deliveries (event_id, kind, target, due_at)
                      SELECT event.id, $13, $14, $15 FROM event)
    SELECT id FROM disabled
"""


@dataclass
class Receiver:
    """A handler that notes what it got, and fails as often as it is told to."""

    fails: int = 0
    got: list[Delivery] = field(default_factory=list)

    async def __call__(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        if len(self.got) <= self.fails:
            raise DeliveryFailed("503")


@dataclass
class Post:
    """A database of its own, and what a test does with its outbox."""

    dsn: str
    database: Database
    clock: Clock

    async def enqueue(self, target: str = "somewhere", kind: str = "test") -> str:
        account = str(uuid.uuid4())
        await self.database.execute("INSERT INTO authmint.accounts (id, created_at) VALUES ($1, now())", account)
        await self.disable(account, target, kind)
        return account

    async def disable(self, account: str, target: str = "somewhere", kind: str = "test") -> None:
        event = Event(kind=EventKind.ACCOUNT_DISABLED, actor=OPERATOR, subject=account, details={"because": "test"})
        now = self.clock()
        await self.database.execute(DISABLE, account, *event.values(now), kind, target, to_datetime(now))

    def outbox(self, handler: Callable[[Delivery], Awaitable[object]], *, seconds: float = 30.0) -> Outbox:
        return Outbox(DeliveryStore(self.database), {"test": handler}, self.clock, handler_seconds=seconds)

    async def rows(self) -> int:
        return int(await self.database.fetch_value("SELECT count(*) FROM authmint.deliveries"))


@pytest.fixture
async def post(server_dsn: str) -> AsyncIterator[Post]:
    configure_logging("INFO", "json")
    async with migrated_database(server_dsn) as dsn, (database := Database(size=4)).open(dsn):
        yield Post(dsn, database, Clock())


def test_the_delays_add_up_to_a_day_and_never_shrink() -> None:
    assert 86_400 == sum(DELAYS)
    assert sorted(DELAYS) == list(DELAYS)
    assert [*DELAYS, None, None] == [delay_after(attempt) for attempt in range(1, MAX_ATTEMPTS + 2)]


async def test_what_is_recorded_is_delivered_with_its_event_and_then_gone(post: Post) -> None:
    receiver = Receiver()
    account = await post.enqueue("https://receiver.example")
    # Nothing was changed, so nothing is recorded, and nothing is sent.
    await post.disable(account)
    await post.outbox(receiver).deliver()
    (delivery,) = receiver.got
    assert ("https://receiver.example", 1, "account.disabled", account, {"because": "test"}) == (
        delivery.target, delivery.attempt, delivery.event_kind, delivery.subject, delivery.details,
    )  # fmt: skip
    assert 0 == await post.rows()


async def test_of_many_processes_one_delivers_each(post: Post) -> None:
    targets = {f"target-{number}" for number in range(50)}
    for target in targets:
        await post.enqueue(target)
    receiver = Receiver()
    await asyncio.gather(*(post.outbox(receiver).deliver() for _ in range(6)))
    assert sorted(targets) == sorted(delivery.target for delivery in receiver.got)
    assert 0 == await post.rows()


async def test_a_failed_delivery_is_tried_again_later_and_later_for_a_day_and_is_then_dead(
    post: Post, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver, store = Receiver(fails=MAX_ATTEMPTS), DeliveryStore(post.database)
    await post.enqueue()
    started, times = post.clock.now, []
    while not (await store.list(only_dead=False, limit=1))[0].dead_at:
        await post.outbox(receiver).deliver()
        times.append(post.clock.now - started)
        due = (await store.list(only_dead=False, limit=1))[0].due_at
        # A moment too early is too early.
        post.clock.now = due - 0.5
        await post.outbox(receiver).deliver()
        post.clock.now = due
    assert [sum(DELAYS[:number]) for number in range(MAX_ATTEMPTS)] == times
    assert MAX_ATTEMPTS == len(receiver.got)
    (dead,) = await store.list(only_dead=True, limit=10)
    assert ("test", "503", MAX_ATTEMPTS) == (dead.kind, dead.last_error, dead.attempts)
    assert "delivery.died" in capfd.readouterr().err
    post.clock.now += 10 * 86_400
    await post.outbox(receiver).deliver()
    assert MAX_ATTEMPTS == len(receiver.got)
    # Retried: as if it were new.
    assert 0 == await store.retry([dead.id + 1], post.clock())
    assert 1 == await store.retry(None, post.clock())
    await post.outbox(receiver).deliver()
    assert 1 == receiver.got[-1].attempt
    assert 0 == await post.rows()


async def test_what_a_killed_process_had_claimed_is_delivered_by_another(post: Post) -> None:
    await post.enqueue()
    reached, receiver = asyncio.Event(), Receiver()

    async def hang(_: Delivery) -> None:
        reached.set()
        await asyncio.Event().wait()

    killed = asyncio.create_task(post.outbox(hang).deliver())
    async with asyncio.timeout(10):
        await reached.wait()
    # No transaction is open while the handler works.
    assert 0 == await post.database.fetch_value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    killed.cancel()
    post.clock.now += CLAIM_SECONDS - 1
    await post.outbox(receiver).deliver()
    assert [] == receiver.got
    post.clock.now += 1
    await post.outbox(receiver).deliver()
    assert [2] == [delivery.attempt for delivery in receiver.got]
    assert 0 == await post.rows()


async def test_who_comes_back_late_does_not_undo_what_another_has_claimed(post: Post) -> None:
    await post.enqueue()
    store = DeliveryStore(post.database)
    (mine,) = await store.claim(["test"], post.clock(), limit=1)
    post.clock.now += CLAIM_SECONDS
    (theirs,) = await store.claim(["test"], post.clock(), limit=1)
    await store.postpone(mine, "too late", post.clock(), delay=0)
    assert () == tuple(await store.claim(["test"], post.clock(), limit=1))
    await store.complete(theirs)
    assert 0 == await post.rows()


async def test_a_delivery_that_kills_its_process_each_time_is_dead_in_the_end(post: Post) -> None:
    await post.enqueue()
    store, receiver = DeliveryStore(post.database), Receiver()
    for _ in range(MAX_ATTEMPTS):
        assert 1 == len(await store.claim(["test"], post.clock(), limit=1))
        post.clock.now += CLAIM_SECONDS
    await post.outbox(receiver).deliver()
    assert [] == receiver.got
    assert 1 == len(await store.list(only_dead=True, limit=1))


@pytest.mark.parametrize("kind", ["an error", "too slow"])
async def test_an_error_of_a_handler_is_a_failed_attempt_and_its_text_is_not_kept(
    post: Post, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    async def broken(_: Delivery) -> None:
        if kind == "too slow":
            await asyncio.Event().wait()
        raise RuntimeError("a secret")

    await post.enqueue("first")
    await post.outbox(broken, seconds=0.05).deliver()
    (failed,) = await DeliveryStore(post.database).list(only_dead=False, limit=1)
    assert failed.last_error in {"Unexpected error: RuntimeError.", "The handler took longer than 0 seconds."}
    assert "a secret" not in capfd.readouterr().err


async def test_a_kind_without_a_handler_waits_for_a_process_that_has_one(post: Post) -> None:
    receiver = Receiver()
    await post.enqueue(kind="another")
    await post.outbox(receiver).deliver()
    await Outbox(DeliveryStore(post.database), {}, post.clock).deliver()
    assert ([], 1) == (receiver.got, await post.rows())
    with pytest.raises(asyncpg.CheckViolationError):
        await post.enqueue(kind="")


async def test_a_feature_sends_its_deliveries_by_the_loop_of_the_service(
    post: Post, monkeypatch: pytest.MonkeyPatch, password_hash: str
) -> None:
    from authmint_service.app import create_app

    monkeypatch.setattr("authmint_service.features.deliveries.POLL_SECONDS", 0.02)
    received: asyncio.Queue[Delivery] = asyncio.Queue()
    feature = Feature(name="test", deliveries={"test": received.put})
    app = create_app(
        make_settings(post.dsn), clock=post.clock, database_time=post.clock.ask, more_features=(lambda _: feature,)
    )
    async with app.router.lifespan_context(app), open_http(app), asyncio.timeout(20):
        await post.enqueue("by the loop")
        assert "by the loop" == (await received.get()).target
        while await post.rows():
            await asyncio.sleep(0.02)
    with pytest.raises(ValueError, match="two features"):
        create_app(make_settings(post.dsn), more_features=(lambda _: feature, lambda _: feature))
