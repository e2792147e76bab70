"""A database without a free connection or disk space: 503, nothing is corrupt, and it is used again afterwards (L12)."""

import asyncio
import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from tests.faults.chaos_load import ChaosLoad, check_all
from tests.faults.cluster import Cluster
from tests.faults.http import Connection
from tests.faults.servers import Site, site
from tests.faults.test_database_faults import READY_SECONDS, ready_is, refresh, status, until
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-timed"), pytest.mark.timeout(110)]


async def connect_until_refused(dsn: str, taken: list[asyncpg.Connection]) -> None:
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            taken.append(await asyncpg.connect(dsn))


async def take_every_connection(found: Site, cluster: Cluster) -> None:
    (port,) = found.ports
    (family, *_) = await people(found, cluster.dsn(), 3)
    connection = Connection(port)
    taken: list[asyncpg.Connection] = []
    killer = await asyncpg.connect(cluster.dsn())
    await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'authmint'")
    try:
        await connect_until_refused(cluster.dsn(), taken)
        await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'authmint'")
        await connect_until_refused(cluster.dsn(), taken)
        assert 503 == (await refresh(connection, family)).status
        assert 503 == await status(port, "/readyz")
    finally:
        for one in (*taken, killer):
            await one.close()
    await until(ready_is(port, 200), READY_SECONDS)
    assert 200 == (await refresh(connection, family)).status
    connection.close()


def test_a_database_without_a_free_connection_is_a_503_and_is_used_again_afterwards(cluster: Cluster, tmp_path: Path) -> None:
    with site(tmp_path, cluster.dsn(), count=1) as found:
        asyncio.run(take_every_connection(found, cluster))


async def fill_up(connection: asyncpg.Connection, rows: int) -> None:
    """Insert `rows` rows at a time, until the disk has no space for as many."""
    statement = "INSERT INTO filler SELECT repeat(md5(n::text), 20) FROM generate_series(1, $1) AS n"
    with suppress(asyncpg.DiskFullError):
        while True:
            await connection.execute(statement, rows)


async def fill_the_disk(found: Site, cluster: Cluster, full: Path) -> None:
    (port,) = found.ports
    connection, reader = await asyncpg.connect(cluster.dsn()), await asyncpg.connect(cluster.dsn())
    families = await people(found, cluster.dsn(), 30)
    load = ChaosLoad(found.ports, random.Random(1))
    try:
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{full}'")
        await connection.execute("ALTER TABLE authmint.sessions SET TABLESPACE small")
        await connection.execute("CREATE TABLE filler (content text) TABLESPACE small")
        for rows in (200, 1):
            await fill_up(connection, rows)
        # A long transaction keeps old rows from being removed, so each refresh needs space for a new one.
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetchval("SELECT count(*) FROM authmint.sessions")
            await asyncio.gather(*(load.run(families[number::10], 10) for number in range(10)))
        assert load.counts["503"] > 0
        await connection.execute("DROP TABLE filler")
        await until(ready_is(port, 200), READY_SECONDS)
        afterwards = ChaosLoad(found.ports, random.Random(2))
        await asyncio.gather(*(afterwards.run(families[number::10], 5) for number in range(10)))
    finally:
        await connection.execute("DROP TABLE IF EXISTS filler")
        await connection.execute("ALTER TABLE authmint.sessions SET TABLESPACE pg_default")
        await connection.execute("DROP TABLESPACE IF EXISTS small")
        await reader.close()
        await connection.close()
    operations = await check_all(cluster.dsn(), families)
    sys.stdout.write(json.dumps({"operations": operations, "full": dict(load.counts), "violations": 0}) + "\n")
    assert [] == load.wrong + afterwards.wrong
    assert 0 == afterwards.counts["503"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_a_503_and_corrupts_nothing(cluster: Cluster, tmp_path: Path) -> None:
    small = cluster.data.parent / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0777", "tmpfs", str(small)], check=True, timeout=10)
    try:
        (small / "tables").mkdir()
        os.chown(small / "tables", cluster.data.stat().st_uid, cluster.data.stat().st_gid)
        (small / "tables").chmod(0o700)
        with site(tmp_path, cluster.dsn(), count=1) as found:
            asyncio.run(fill_the_disk(found, cluster, small / "tables"))
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True, timeout=10)
