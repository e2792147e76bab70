"""Processes that share a task by a lease, of which one is suspended and another is killed."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.conftest import environment, running
from tests.faults.cluster import DatabaseForTests

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("faults-untimed")]

COMMAND = (sys.executable, "-m", "tests.faults.leased_work")
ROOT = Path(__file__).parents[2]


async def holders(dsn: str) -> list[str]:
    """Who wrote, one after another."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT holder FROM authmint.work ORDER BY at")
    finally:
        await connection.close()
    found: list[str] = []
    for row in rows:
        if not found or found[-1] != row["holder"]:
            found.append(row["holder"])
    return found


def wait_for_holders(dsn: str, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while len(found := asyncio.run(holders(dsn))) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


async def make_table(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE authmint.work (holder text, at timestamptz)")
    await connection.close()


def test_a_task_passes_from_a_suspended_process_to_another_and_from_a_killed_one_back(
    database: DatabaseForTests, tmp_path: Path
) -> None:
    """The suspended one wakes up in the middle of its work, and writes nothing more while the other has the lease."""
    dsn = database.dsn()
    asyncio.run(make_table(dsn))
    env = environment(PYTHONPATH=str(ROOT))
    with running(*COMMAND, dsn, cwd=ROOT, env=env, output=tmp_path / "first") as first:
        wait_for_holders(dsn, 1)
        with running(*COMMAND, dsn, cwd=ROOT, env=env, output=tmp_path / "second") as second:
            first.process.send_signal(signal.SIGSTOP)
            one, other = wait_for_holders(dsn, 2)
            first.process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 20
            while "lost" not in first.said:
                assert time.monotonic() < deadline, first.said
                time.sleep(0.05)
            assert [one, other] == asyncio.run(holders(dsn))
            second.process.send_signal(signal.SIGKILL)
            second.process.wait()
            assert [one, other, one] == wait_for_holders(dsn, 3)
