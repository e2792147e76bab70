"""Servers and PostgreSQL killed at random points: nothing that was acknowledged is lost, and no session forks (T-5, T-9)."""

import asyncio
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chaos_load import GRACES, ChaosLoad, TokenFamily, check_all, families_of, until_quiet, while_going_on
from tests.faults.cluster import Cluster
from tests.faults.process_killer import ProcessKiller
from tests.faults.servers import Site, sign_in, site

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed")]


async def people(found: Site, dsn: str, count: int) -> list[TokenFamily]:
    """Make sessions, a third for each client."""
    families = []
    for client_id in GRACES:
        firsts = [token for token, _, _ in await sign_in(dsn, count // len(GRACES), client_id=client_id)]
        families += families_of(found.codec, firsts, client_id)
    return families


async def survive(
    found: Site,
    cluster: Cluster,
    *,
    kills: int,
    families: int,
    steps: int,
    at_once: int,
    between: int,
    enough: float = math.inf,
) -> dict[str, Any]:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    made, started = await people(found, cluster.dsn(), families), time.monotonic()
    chance.shuffle(made)
    load = ChaosLoad(found.ports, chance)
    killer = ProcessKiller(found, cluster, chance, load.operations, between)

    def is_enough() -> bool:
        return load.operations() >= enough

    work = asyncio.gather(*(load.run(made[number::at_once], steps, until=is_enough) for number in range(at_once)))
    await while_going_on(work, lambda done: killer.run(kills, done))
    await until_quiet(cluster.dsn())
    assert [] == load.wrong
    operations = await check_all(cluster.dsn(), made)
    results: dict[str, Any] = {
        "operations": operations, "sessions": len(made), "killed": dict(killer.counts), "saw": dict(load.counts),
        "violations": 0, "seed": seed, "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(results) + "\n")
    assert sum(killer.counts.values()) >= min(kills, 5)
    assert load.counts["child"] > load.counts["refused"] > 0
    return results


@pytest.mark.timeout(170)
def test_after_any_kill_no_session_forks_and_no_acknowledged_rotation_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        asyncio.run(survive(found, cluster, kills=6, families=180, steps=18, at_once=10, between=250))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_kills_among_a_million_operations_leave_no_violation(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        results = asyncio.run(
            survive(found, cluster, kills=10**9, families=15_000, steps=100, at_once=24, between=1400, enough=1_050_000)
        )
    assert results["operations"] >= 1_000_000
    assert sum(results["killed"].values()) >= 1000
