"""Concurrent sign-ins beside refreshes: what exceeds the capacity is refused, the rest is served (T-14, T-15, T-17)."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import environment, fetch, free_ports
from tests.faults.chaos_load import TokenFamily
from tests.faults.cluster import DatabaseForTests
from tests.faults.fork_server import Program, forked
from tests.faults.http import Connection
from tests.faults.servers import AUDIENCES, Site, site
from tests.faults.sign_in_load import Seen, add_anna, paced, sign_in_bella, sign_in_load_elsewhere, signing_in
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed")]

HASH_SLOTS = 2
MIB = 1024
HASH_MIB, SPARE_MIB = 19, 64


async def refreshing(seen: Seen, port: int, families: list[TokenFamily], rate: float, until: float) -> None:
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


def resident(found: Site) -> int:
    """Return the resident memory of the first server, KiB."""
    lines = Path(f"/proc/{found.servers[0].running.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@asynccontextmanager
async def watching_memory(found: Site) -> AsyncIterator[list[int]]:
    """The highest resident memory of the first server, KiB, in the one element."""
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


@contextmanager
def resource_service(found: Site, folder: Path) -> Iterator[int]:
    """The port of another team's service, which has the keys of `found` and asks no one."""
    keys = folder / "jwks.json"
    keys.write_text(fetch(f"http://127.0.0.1:{found.ports[0]}/.well-known/jwks.json")[1])
    (port,) = free_ports(1)
    env = environment(ORDERS_JWKS_FILE=str(keys), ORDERS_PORT=str(port))
    with forked(Program("tests.faults.resource_service"), cwd=folder, env=env, output=folder / "resource-service") as started:
        started.wait_for(f"http://127.0.0.1:{port}/openapi.json")
        yield port


async def run_beside_sign_ins(
    found: Site, dsn: str, folder: Path, *, logins: int, refreshes: float, seconds: float, sessions: int
) -> dict[str, Any]:
    """`logins` people who sign in without a pause, and beside them `refreshes` a second.

    Also 50 validations a second by a service that has the keys, 50 requests that need the database, and 50 that need none.
    """
    await add_anna(dsn)
    (port,) = found.ports
    families = (await people(found, dsn, 3 * sessions))[:sessions]
    of_orders, of_issuer = [(await sign_in_bella(port, resource=audience)).members["access_token"] for audience in AUDIENCES]
    idle, until, seen = resident(found), time.monotonic() + seconds, Seen()
    with resource_service(found, folder) as resource:
        async with watching_memory(found) as most, asyncio.TaskGroup() as group:
            sign_ins = group.create_task(sign_in_load_elsewhere(port, logins, seconds, folder))
            for n in range(20):
                group.create_task(refreshing(seen, port, families[n::20], refreshes / 20, until))
            group.create_task(probing(seen, resource, "validate", "/caller", 50, until, of_orders))
            group.create_task(probing(seen, port, "account", "/account/v1", 50, until, of_issuer))
            group.create_task(probing(seen, port, "loop", "/livez", 50, until))
    bound = idle / MIB + HASH_SLOTS * HASH_MIB + SPARE_MIB
    saw, longest = seen.statuses + sign_ins.result().statuses, max(seen.retry_after, sign_ins.result().retry_after)
    results = {
        "seconds": seconds, "logins_at_once": logins, "saw": dict(saw), "p99_milliseconds": seen.p99_milliseconds(),
        "longest_retry_after": longest, "idle_mib": round(idle / MIB),
        "most_mib": round(most[0] / MIB), "bound_mib": round(bound),
    }  # fmt: skip
    sys.stdout.write(json.dumps(results) + "\n")
    assert most[0] / MIB <= bound
    assert {"200", "503"} >= {status.split(" ")[1] for status in saw}
    assert longest <= 2
    assert saw["sign-in 200"] > 0 < saw["refresh 200"]
    return results


@pytest.mark.timeout(110)
def test_too_many_sign_ins_are_refused_in_part_while_refreshes_are_served(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn(), count=1, AUTHMINT_PASSWORD_HASH_WORKERS=str(HASH_SLOTS)) as found:
        asyncio.run(run_beside_sign_ins(found, database.dsn(), tmp_path, logins=100, refreshes=40, seconds=1.5, sessions=200))


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(1200)
def test_ten_minutes_of_five_hundred_sign_ins_at_once_delay_no_other_request(
    database: DatabaseForTests, tmp_path: Path
) -> None:
    with site(
        tmp_path, database.dsn(), count=1, AUTHMINT_ACCESS_TOKEN_TTL="3600", AUTHMINT_PASSWORD_HASH_WORKERS=str(HASH_SLOTS)
    ) as found:
        results = asyncio.run(
            run_beside_sign_ins(found, database.dsn(), tmp_path, logins=500, refreshes=200, seconds=600, sessions=2000)
        )
    p99 = results["p99_milliseconds"]
    assert p99["refresh"] <= 250
    assert p99["validate"] <= 20
    assert p99["loop"] <= 50


async def sustain(found: Site, dsn: str, *, seconds: float) -> dict[str, Any]:
    """30 sign-ins and 240 refreshes a second, spread over all servers."""
    await add_anna(dsn)
    families = (await people(found, dsn, 9000))[:3000]
    seen, until = Seen(), time.monotonic() + seconds
    ports = itertools.cycle(found.ports)
    await asyncio.gather(
        *(signing_in(seen, next(ports), until, rate=1.5) for _ in range(21)),
        *(refreshing(seen, next(ports), families[n::24], 10.5, until) for n in range(24)),
    )
    good = {what: seen.statuses[f"{what} 200"] for what in ("sign-in", "refresh")}
    errors = seen.statuses.total() - sum(good.values())
    results = {
        "seconds": seconds, "a_second": {what: round(number / seconds, 1) for what, number in good.items()},
        "errors": errors, "saw": dict(seen.statuses), "p99_milliseconds": seen.p99_milliseconds(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(results) + "\n")
    assert errors <= 1e-5 * seen.statuses.total()
    return results


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(2400)
def test_half_an_hour_of_sign_ins_and_refreshes_is_served_without_an_error(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn()) as found:
        results = asyncio.run(sustain(found, database.dsn(), seconds=1800))
    assert results["a_second"]["sign-in"] >= 30
    assert results["a_second"]["refresh"] >= 240
