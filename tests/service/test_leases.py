"""Leases: of all processes one does a task; one that died or lost the lease does not."""

import asyncio
import secrets

import pytest

from authmint_service.database import Database
from authmint_service.leases import LeaseLost, Leases, LeaseTaken
from authmint_service.tasks import Task, TaskRunner
from tests.service.conftest import Service
from tests.service.pauses import Pauses

pytestmark = pytest.mark.anyio


@pytest.fixture
def name() -> str:
    return f"task {secrets.token_hex(6)}"


async def let_end(service: Service, name: str) -> None:
    """Let the time pass that the lease has."""
    statement = "UPDATE authmint.leases SET expires_at = clock_timestamp() - interval '1 second' WHERE name = $1"
    await service.database.execute(statement, name)


async def seconds_left(service: Service, name: str) -> float:
    statement = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM authmint.leases WHERE name = $1"
    return float(await service.database.fetch_value(statement, name))


async def test_of_twenty_processes_that_ask_at_once_one_takes_the_lease(service: Service, name: str) -> None:
    processes = [Leases(service.database) for _ in range(20)]
    answers = await asyncio.gather(*(one.take(name) for one in processes), return_exceptions=True)
    assert 1 == answers.count(None)
    assert 19 == sum(isinstance(answer, LeaseTaken) and 0 <= answer.seconds <= 30 for answer in answers)
    winner = processes[answers.index(None)]
    await winner.take(name)
    assert 20 == len({one.holder for one in processes})


async def test_a_holder_that_died_loses_the_lease_at_its_end(service: Service, name: str) -> None:
    dead, other = Leases(service.database), Leases(service.database)
    await dead.take(name)
    with pytest.raises(LeaseTaken):
        await other.take(name)
    await let_end(service, name)
    # It is not renewed any more, even while no other process has taken it.
    assert not await dead.extend(name, 30.0)
    await other.take(name)
    with pytest.raises(LeaseTaken):
        await dead.take(name)


async def test_a_lease_is_renewed_for_as_long_as_the_work_takes(service: Service, name: str) -> None:
    pauses = Pauses()
    leases = Leases(service.database, seconds=30.0, sleep=pauses)
    async with leases.hold(name):
        for _ in range(3):
            await service.database.execute(
                "UPDATE authmint.leases SET expires_at = clock_timestamp() + interval '1 second' WHERE name = $1", name
            )
            assert 10.0 == await pauses.end_next()
            seconds, end = await pauses.next()
            assert 25 < await seconds_left(service, name) <= 30
            end.set()
    assert await seconds_left(service, name) <= 0


async def test_a_holder_that_lost_its_lease_is_stopped(service: Service, name: str) -> None:
    pauses, stopped = Pauses(), asyncio.Event()
    holder = Leases(service.database, sleep=pauses)

    async def work() -> None:
        async with holder.hold(name):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.set()
                raise

    working = asyncio.create_task(work())
    _, end = await pauses.next()
    await let_end(service, name)
    other = Leases(service.database)
    await other.take(name)
    end.set()
    with pytest.raises(LeaseLost):
        await working
    assert stopped.is_set()
    # What the other process has is not touched.
    assert 25 < await seconds_left(service, name)


async def test_a_holder_that_cannot_renew_stops_at_the_end_of_its_lease(service: Service, name: str) -> None:
    """Nothing renews here, and no answer of the database says that it is lost: the holder's own deadline ends it."""
    holder = Leases(service.database, seconds=0.05, sleep=Pauses())
    with pytest.raises(LeaseLost):
        async with asyncio.timeout(10), holder.hold(name):
            await asyncio.Event().wait()


async def test_a_process_that_was_suspended_writes_nothing_in_the_name_of_a_lease_that_it_has_lost(
    service: Service, name: str
) -> None:
    suspended, other = Leases(service.database), Leases(service.database)
    await suspended.take(name)
    async with suspended.transaction(name):
        # Until the transaction has ended, no other process can take the lease, even after its end.
        taking = asyncio.create_task(other.take(name))
        await until_one_waits_for_a_lock(service)
        assert not taking.done()
    with pytest.raises(LeaseTaken):
        await taking
    await let_end(service, name)
    for another_has_it in (False, True):
        if another_has_it:
            await other.take(name)
        with pytest.raises(LeaseLost):
            async with suspended.transaction(name):
                pytest.fail("the block of a lost lease was run")


async def until_one_waits_for_a_lock(service: Service) -> None:
    waiting = """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
         WHERE NOT granted AND activity.query LIKE '%leases%'
    """
    async with asyncio.timeout(10):
        while not await service.database.fetch_value(waiting):
            await asyncio.sleep(0)


async def test_a_lease_is_given_back_when_the_work_fails_or_the_process_stops(service: Service, name: str) -> None:
    holder, other = Leases(service.database), Leases(service.database)
    with pytest.raises(ValueError, match="no"):
        async with holder.hold(name, afterwards=3600.0):
            raise ValueError("no")
    await other.take(name)


async def test_a_task_that_runs_alone_is_done_once_for_all_processes_in_its_time(service: Service, name: str) -> None:
    done: list[int] = []

    def process(number: int) -> tuple[TaskRunner, Pauses]:
        async def run() -> None:
            done.append(number)

        pauses = Pauses()
        task = Task(name, 3600.0, run, alone=True, at_start=True)
        return TaskRunner([task], Leases(service.database), sleep=pauses, spread=lambda: 0.5), pauses

    (first, of_first), (second, of_second) = process(1), process(2)
    async with first.running():
        seconds, next_run = await of_first.next()
        assert 3600.0 == seconds
        async with second.running():
            # It waits until the lease of the first ends, and no longer than `every`.
            waited, try_again = await of_second.next()
            assert 3590 < waited <= 3600
            assert [1] == done
            next_run.set()
            await of_first.next()
            assert [1, 1] == done
            # The first dies. The second takes over at the end of its lease.
            await let_end(service, name)
            try_again.set()
            assert 3600.0 == (await of_second.next())[0]
            assert [1, 1, 2] == done


async def test_a_task_that_runs_alone_waits_for_the_database(name: str, service: Service) -> None:
    pauses, closed = Pauses(), Leases(Database(size=1))

    async def run() -> None:
        pytest.fail("the task was run without its lease")

    runner = TaskRunner([Task(name, 1.0, run, alone=True, at_start=True)], closed, sleep=pauses, spread=lambda: 0.5)
    async with runner.running():
        assert 1.0 == await pauses.end_next()
        assert 1.0 == await pauses.end_next()
