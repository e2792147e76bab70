"""More followers of the revocation list than may wait: the process stays quick and small."""

import asyncio
import base64
import json
import resource
import sys
import time
from pathlib import Path

import pytest

from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Answer, Connection
from tests.faults.servers import Server, site

MAX_WAITING = 500


def serial_of(answer: Answer) -> int:
    serial: int = json.loads(base64.urlsafe_b64decode(answer.content.split(b".")[1] + b"=="))["serial"]
    return serial


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def ask(port: int, path: str) -> Answer:
    connection = Connection(port, seconds=30)
    try:
        return await connection.ask("GET", path)
    finally:
        connection.close()


async def poll_together(server: Server, followers: int) -> dict[str, float]:
    """Send long polls at once. Return what they cost."""
    port, pid = server.port, server.running.process.pid
    path = f"/revocation-list?since={serial_of(await ask(port, '/revocation-list'))}&wait=10"
    before = resident_kib(pid)
    polls = [asyncio.create_task(ask(port, path)) for _ in range(followers)]
    slowest = 0.0
    largest = before
    while sum(not poll.done() for poll in polls) > MAX_WAITING:
        started = time.monotonic()
        assert 200 == (await ask(port, "/livez")).status
        slowest = max(slowest, time.monotonic() - started)
        largest = max(largest, resident_kib(pid))
        await asyncio.sleep(0.05)
    started = time.monotonic()
    assert 200 == (await ask(port, "/livez")).status
    while_they_wait = time.monotonic() - started
    answers = await asyncio.gather(*polls)
    assert {200} == {answer.status for answer in answers}
    late = [answer for answer in answers if "retry-after" in answer.headers]
    assert max(0, followers - MAX_WAITING) <= len(late)
    return {
        "followers": followers, "asked_to_come_later": len(late), "livez_seconds": round(slowest, 3),
        "livez_seconds_while_they_wait": round(while_they_wait, 3), "more_memory_mib": round((largest - before) / 1024, 1),
    }  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("followers", [pytest.param(2000, marks=pytest.mark.long)])
def test_long_polls_are_bounded_and_the_process_stays_quick(database: DatabaseForTests, tmp_path: Path, followers: int) -> None:
    """All come in one moment. A process on a shared core needs a while for them, and is quick when they wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with site(tmp_path, database.dsn(), count=1, AUTHMINT_MAX_CONNECTIONS="4000") as found:
        measured = asyncio.run(poll_together(found.servers[0], followers))
    sys.stdout.write(json.dumps(measured) + "\n")
    assert 5 > measured["livez_seconds"]
    assert 0.5 > measured["livez_seconds_while_they_wait"]
    assert 100 > measured["more_memory_mib"]
