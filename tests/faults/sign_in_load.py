"""A crowd that signs in, in a process of its own, so that those who are measured beside it share no loop with it.

`python -m tests.faults.sign_in_load PORT PEOPLE SECONDS` prints what it saw as one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import uvloop

from authmint_service.passwords import PasswordHasher
from tests.e2e.conftest import ROOT
from tests.faults.http import Answer, Connection, Lost, NotSent
from tests.faults.servers import add_account

PASSWORD = "seven green parrots in a boat"
ANNA = {"grant_type": "password", "client_id": "spa", "username": "anna", "password": PASSWORD}


@dataclass
class Seen:
    """What came back: how often each status, and how long it took, by what was asked."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    retry_after: int = 0
    """The longest that anybody was told to wait, seconds."""

    async def ask(self, what: str, asking: Awaitable[Answer]) -> Answer | None:
        started = time.perf_counter()
        try:
            answer = await asking
        except (Lost, NotSent):
            self.statuses[f"{what} lost"] += 1
            return None
        self.statuses[f"{what} {answer.status}"] += 1
        if answer.status == 200:
            self.seconds[what].append(time.perf_counter() - started)
        if answer.status == 503:
            self.retry_after = max(self.retry_after, int(answer.headers.get("retry-after", 10**6)))
            await asyncio.sleep(1)
        return answer

    def milliseconds(self) -> dict[str, float]:
        """The 99th percentile of each, of answers with 200."""
        return {what: round(1000 * sorted(took)[int(len(took) * 0.99)], 1) for what, took in self.seconds.items()}


async def paced(rate: float, until: float, ask: Callable[[], Awaitable[object]]) -> None:
    """So many a second, one after another, until the monotonic clock says `until`; who comes late does not catch up."""
    due = time.monotonic()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await ask()
        due = max(due + 1 / rate, time.monotonic() - 1)


async def signing_in(seen: Seen, port: int, until: float, rate: float | None = None) -> None:
    """One person; without `rate` as fast as it is answered."""
    connection = Connection(port, seconds=30)

    async def ask() -> None:
        await seen.ask("sign-in", connection.ask("POST", "/token", ANNA))

    if rate is not None:
        await paced(rate, until, ask)
    else:
        while time.monotonic() < until:
            await ask()
    connection.close()


async def sign_in_anna(port: int) -> Answer:
    """Once."""
    connection = Connection(port)
    answer = await connection.ask("POST", "/token", ANNA)
    connection.close()
    return answer


async def anna(dsn: str) -> None:
    """One person, as whom everybody signs in; her sessions are as many as theirs would be."""
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        await add_account(dsn, "anna", await hasher.hash(PASSWORD))
    finally:
        hasher.close()


async def crowd(port: int, people: int, seconds: float) -> Seen:
    """So many at once, each as fast as they are answered."""
    seen, until = Seen(), time.monotonic() + seconds
    await asyncio.gather(*(signing_in(seen, port, until) for _ in range(people)))
    return seen


async def crowd_elsewhere(port: int, people: int, seconds: float) -> Seen:
    """The same in another process, which ends with the caller."""
    command = (sys.executable, "-m", "tests.faults.sign_in_load", str(port), str(people), str(seconds))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    members = json.loads(said)
    return Seen(Counter(members["statuses"]), retry_after=members["retry_after"])


if __name__ == "__main__":
    port, people, seconds = sys.argv[1:]
    seen = uvloop.run(crowd(int(port), int(people), float(seconds)))
    sys.stdout.write(json.dumps({"statuses": seen.statuses, "retry_after": seen.retry_after}) + "\n")
