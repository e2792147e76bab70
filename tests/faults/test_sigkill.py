"""Servers and PostgreSQL killed at random points: nothing that was acknowledged is lost, and no session forks (T-5, T-9)."""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chaos_load import GRACES, MetricFamily, Storm, check_all, families_of, until_quiet, while_going_on
from tests.faults.cluster import Cluster
from tests.faults.process_killer import Killer
from tests.faults.servers import Site, sign_in, site

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults")]


async def people(found: Site, dsn: str, count: int) -> list[MetricFamily]:
    """Signed in already, a third through each client."""
    families = []
    for client_id in GRACES:
        firsts = [token for token, _, _ in await sign_in(dsn, count // len(GRACES), client_id=client_id)]
        families += families_of(found.codec, firsts, client_id)
    return families


async def survive(
    found: Site, cluster: Cluster, *, kills: int, families: int, steps: int, at_once: int, pause: float = 0.3
) -> dict[str, Any]:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    made, started = await people(found, cluster.dsn(), families), time.monotonic()
    chance.shuffle(made)
    storm, killer = Storm(found.ports, chance), Killer(found, cluster, chance, pause)
    work = asyncio.gather(*(storm.live(made[number::at_once], steps) for number in range(at_once)))
    await while_going_on(work, lambda done: killer.run(kills, done))
    await until_quiet(cluster.dsn())
    assert [] == storm.wrong
    operations = await check_all(cluster.dsn(), made)
    figures: dict[str, Any] = {
        "operations": operations, "sessions": len(made), "killed": dict(killer.counts), "saw": dict(storm.counts),
        "violations": 0, "seed": seed, "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    assert sum(killer.counts.values()) >= min(kills, 5)
    assert storm.counts["child"] > storm.counts["refused"] > 0
    return figures


@pytest.mark.timeout(170)
def test_whatever_is_killed_no_session_forks_and_no_acknowledged_one_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        asyncio.run(survive(found, cluster, kills=8, families=240, steps=20, at_once=12))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_kills_leave_no_violation(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        figures = asyncio.run(survive(found, cluster, kills=10**9, families=10_000, steps=200, at_once=24))
    assert sum(figures["killed"].values()) >= 1000


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_million_operations_with_kills_among_them_leave_no_violation(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn()) as found:
        figures = asyncio.run(survive(found, cluster, kills=10**9, families=13_000, steps=200, at_once=24, pause=10))
    assert figures["operations"] >= 1_000_000
    assert sum(figures["killed"].values()) >= 30
