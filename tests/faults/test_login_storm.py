"""Everyone signs in at once while others refresh: what is too much is refused, the rest is served (T-14, T-15, T-17)."""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.users import PasswordHasher
from tests.faults.cluster import Cluster
from tests.faults.http import Answer, Connection, Lost, NotSent
from tests.faults.servers import Site, site
from tests.faults.storm import Family
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults")]

PASSWORD = "seven green parrots in a boat"
PERMITS = 2
MIB = 1024
HASH_MIB, SPARE_MIB = 19, 64


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


async def refreshing(seen: Seen, port: int, families: list[Family], rate: float, until: float) -> None:
    connection, turn = Connection(port), itertools.cycle(families)

    async def ask() -> None:
        family = next(turn)
        form = {"grant_type": "refresh_token", "client_id": family.client_id, "refresh_token": family.tokens[family.newest]}
        answer = await seen.ask("refresh", connection.ask("POST", "/token", form))
        if answer is not None and answer.status == 200:
            family.tokens[family.newest + 1] = answer.members["refresh_token"]

    await paced(rate, until, ask)
    connection.close()


async def probing(seen: Seen, port: int, what: str, path: str, rate: float, until: float, bearer: str = "") -> None:
    connection = Connection(port)
    await paced(rate, until, lambda: seen.ask(what, connection.ask("GET", path, bearer=bearer)))
    connection.close()


async def signing_in(seen: Seen, port: int, until: float, rate: float | None = None) -> None:
    """One person; without `rate` as fast as it is answered."""
    connection = Connection(port, seconds=30)
    form = {"grant_type": "password", "client_id": "spa", "username": "anna", "password": PASSWORD}

    async def ask() -> None:
        await seen.ask("sign-in", connection.ask("POST", "/token", form))

    if rate is not None:
        await paced(rate, until, ask)
    else:
        while time.monotonic() < until:
            await ask()
    connection.close()


def resident(found: Site) -> int:
    """KiB of the first server."""
    lines = Path(f"/proc/{found.servers[0].running.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@asynccontextmanager
async def watching_memory(found: Site) -> AsyncIterator[list[int]]:
    """The most that the first server had, KiB, in the one element."""
    most = [0]

    async def watch() -> None:
        while True:
            most[0] = max(most[0], resident(found))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch())
    try:
        yield most
    finally:
        task.cancel()


async def anna(dsn: str) -> None:
    """One person, as whom everybody signs in; her sessions are as many as theirs would be."""
    hasher = PasswordHasher(workers=1, queue=1)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO users (id, username, password_hash, created_at) VALUES (gen_random_uuid(), 'anna', $1, now())"
            " ON CONFLICT DO NOTHING",
            await hasher.hash(PASSWORD),
        )
    finally:
        hasher.close()
        await connection.close()


async def storm(found: Site, dsn: str, *, logins: int, refreshes: float, seconds: float) -> dict[str, Any]:
    """`logins` people who sign in without a pause, `refreshes` a second, 50 validations and 50 looks at the loop a second."""
    await anna(dsn)
    (port,) = found.ports
    families = (await people(found, dsn, 6000))[:2000]
    seen, warm = Seen(), Seen()
    await signing_in(warm, port, time.monotonic() + 0.5)
    bearer = (await token_of(port)).members["access_token"]
    idle, until = resident(found), time.monotonic() + seconds
    async with watching_memory(found) as most:
        await asyncio.gather(
            *(signing_in(seen, port, until) for _ in range(logins)),
            *(refreshing(seen, port, families[n::20], refreshes / 20, until) for n in range(20)),
            probing(seen, port, "validate", "/users/me", 50, until, bearer),
            probing(seen, port, "loop", "/livez", 50, until),
        )
    bound = idle / MIB + PERMITS * HASH_MIB + SPARE_MIB
    figures = {
        "seconds": seconds, "logins_at_once": logins, "saw": dict(seen.statuses), "p99_milliseconds": seen.milliseconds(),
        "longest_retry_after": seen.retry_after, "idle_mib": round(idle / MIB), "most_mib": round(most[0] / MIB),
        "bound_mib": round(bound),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    assert most[0] / MIB <= bound
    assert {"200", "503"} >= {status.split(" ")[1] for status in seen.statuses}
    assert seen.retry_after <= 2
    assert seen.statuses["sign-in 200"] > 0 < seen.statuses["refresh 200"]
    return figures


async def token_of(port: int) -> Answer:
    connection = Connection(port)
    form = {"grant_type": "password", "client_id": "spa", "username": "anna", "password": PASSWORD}
    answer = await connection.ask("POST", "/token", form)
    connection.close()
    return answer


@pytest.mark.timeout(110)
def test_a_storm_of_sign_ins_is_refused_in_part_while_refreshes_are_served(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn(), count=1, MINTMARK_HASH_WORKERS=str(PERMITS)) as found:
        asyncio.run(storm(found, cluster.dsn(), logins=150, refreshes=40, seconds=3))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_minutes_of_five_hundred_sign_ins_at_once_hold_up_nobody_else(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn(), count=1, MINTMARK_ACCESS_TOKEN_TTL="3600", MINTMARK_HASH_WORKERS=str(PERMITS)) as found:
        figures = asyncio.run(storm(found, cluster.dsn(), logins=500, refreshes=200, seconds=600))
    p99 = figures["p99_milliseconds"]
    assert p99["refresh"] <= 250
    assert p99["validate"] <= 20
    assert p99["loop"] <= 50


async def sustain(found: Site, dsn: str, *, seconds: float) -> dict[str, Any]:
    """30 sign-ins and 240 refreshes a second, spread over all servers."""
    await anna(dsn)
    families = (await people(found, dsn, 9000))[:3000]
    seen, until = Seen(), time.monotonic() + seconds
    ports = itertools.cycle(found.ports)
    await asyncio.gather(
        *(signing_in(seen, next(ports), until, rate=1.5) for _ in range(21)),
        *(refreshing(seen, next(ports), families[n::24], 10.5, until) for n in range(24)),
    )
    good = {what: seen.statuses[f"{what} 200"] for what in ("sign-in", "refresh")}
    errors = seen.statuses.total() - sum(good.values())
    figures = {
        "seconds": seconds, "a_second": {what: round(number / seconds, 1) for what, number in good.items()},
        "errors": errors, "saw": dict(seen.statuses), "p99_milliseconds": seen.milliseconds(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    assert errors <= 1e-5 * seen.statuses.total()
    return figures


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_half_an_hour_of_sign_ins_and_refreshes_is_served_without_an_error(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        figures = asyncio.run(sustain(found, cluster.dsn(), seconds=1800))
    assert figures["a_second"]["sign-in"] >= 30
    assert figures["a_second"]["refresh"] >= 240
