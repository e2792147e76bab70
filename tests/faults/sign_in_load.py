"""Concurrent sign-ins, in a process of their own, so that what is measured beside them shares no event loop with them.

The program's arguments are PORT PEOPLE SECONDS; it prints its results as one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from authmint_service.passwords import PasswordHasher
from tests.e2e.conftest import ROOT, environment
from tests.faults.fork_server import Program, forked
from tests.faults.http import Answer, Connection, Lost, NotSent
from tests.faults.servers import add_account

PASSWORD = "seven green parrots in a boat"
ANNA = {"grant_type": "password", "client_id": "spa", "username": "anna", "password": PASSWORD}


@dataclass
class Seen:
    """The responses: how many of each status, and their durations, by kind of request."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    retry_after: int = 0
    """The largest `Retry-After` that was received, seconds."""

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

    def p99_milliseconds(self) -> dict[str, float]:
        """Return the 99th percentile of each kind, of responses with 200."""
        return {what: round(1000 * sorted(took)[int(len(took) * 0.99)], 1) for what, took in self.seconds.items()}


async def paced(rate: float, until: float, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask `rate` times a second, one after another, until `until` of the monotonic clock; at most one second is caught up."""
    due = time.monotonic()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await ask()
        due = max(due + 1 / rate, time.monotonic() - 1)


async def signing_in(seen: Seen, port: int, until: float, rate: float | None = None) -> None:
    """Sign in as one person again and again; without `rate` as fast as the server responds."""
    connection = Connection(port, seconds=30)

    async def ask() -> None:
        await seen.ask("sign-in", connection.ask("POST", "/token", ANNA))

    if rate is not None:
        await paced(rate, until, ask)
    else:
        while time.monotonic() < until:
            await ask()
    connection.close()


async def sign_in_bella(port: int, **more: str) -> Answer:
    """Sign in once, as a person who does it seldom. `more`: parameters of the request."""
    connection = Connection(port)
    answer = await connection.ask("POST", "/token", ANNA | {"username": "bella"} | more)
    connection.close()
    return answer


async def add_anna(dsn: str) -> None:
    """Add the one account that every sign-in uses, and that of Bella: Anna's tokens are refused when too many sessions end."""
    hasher = PasswordHasher(workers=1, queue=1)
    try:
        password_hash = await hasher.hash(PASSWORD)
        for username in ("anna", "bella"):
            await add_account(dsn, username, password_hash)
    finally:
        hasher.close()


async def sign_in_load(port: int, people: int, seconds: float) -> Seen:
    """`people` sign in at once, each one as fast as the server responds, for `seconds`."""
    seen, until = Seen(), time.monotonic() + seconds
    await asyncio.gather(*(signing_in(seen, port, until) for _ in range(people)))
    return seen


async def sign_in_load_elsewhere(port: int, people: int, seconds: float, folder: Path) -> Seen:
    """Run `sign_in_load` in another process, which writes its results into `folder` and ends with the caller."""
    program = Program("tests.faults.sign_in_load", (str(port), str(people), str(seconds)))
    with forked(program, cwd=ROOT, env=environment(), output=folder / "sign-in-load") as process:
        code = await asyncio.to_thread(process.process.wait, seconds + 60)
        assert code == 0, process.said
        members = json.loads(process.said)
    return Seen(Counter(members["statuses"]), retry_after=members["retry_after"])


def main() -> None:
    port, people, seconds = sys.argv[1:]
    seen = uvloop.run(sign_in_load(int(port), int(people), float(seconds)))
    sys.stdout.write(json.dumps({"statuses": seen.statuses, "retry_after": seen.retry_after}) + "\n")
