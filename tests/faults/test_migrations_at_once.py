"""Processes migrate one database at once, one of them is killed, and old servers serve a newer schema (L23 to L25, T-24)."""

import asyncio
import json
import random
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from authmint_service import migrations
from tests.e2e.conftest import ROOT, environment, fetch
from tests.faults.chaos_load import ChaosLoad, check_all
from tests.faults.cluster import DatabaseForTests
from tests.faults.fork_server import Program, run_forked
from tests.faults.servers import FORKED, Site, add_clients, site
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed"), pytest.mark.timeout(110)]

REPLICAS = 8
NEWER = '''"""An addition of a later version."""

import os

from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade() -> None:
    op.execute("ALTER TABLE authmint.sessions ADD COLUMN added_later integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE authmint.clients ADD COLUMN added_later integer")
    op.execute("SELECT pg_sleep(" + os.environ["SECONDS"] + ")")
'''


def execute(dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def new_database(database: DatabaseForTests) -> str:
    name = f"migrated_{secrets.token_hex(4)}"
    execute(database.dsn(), f"CREATE DATABASE {name}")
    return database.dsn(name)


def revisions(dsn: str) -> list[str]:
    async def run() -> list[str]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row["version_num"] for row in await connection.fetch("SELECT version_num FROM authmint.alembic_version")]
        finally:
            await connection.close()

    return asyncio.run(run())


def start_at_once(found: Site, stack: ExitStack) -> None:
    """Start all servers, each of which migrates in a development start. Fails unless all become ready."""
    for server in found.servers:
        server.start()
        stack.callback(server.stop)
    for server in found.servers:
        server.wait_until_ready()


def migrate_at_once(database: DatabaseForTests, folder: Path, times: int) -> None:
    for number in range(times):
        dsn, own = new_database(database), folder / str(number)
        own.mkdir()
        with ExitStack() as stack:
            found = Site(own, dsn, REPLICAS, FORKED, {"AUTHMINT_DATABASE_POOL_SIZE": "2"})
            start_at_once(found, stack)
            assert [migrations.head()] == revisions(dsn)
            assert not any("error" in server.said for server in found.servers)
    results = {"replicas": REPLICAS, "times": times, "ready": REPLICAS * times, "head": migrations.head()}
    sys.stdout.write(json.dumps(results) + "\n")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_replicas_that_migrate_at_once_are_all_ready_twenty_times_over(
    database: DatabaseForTests, tmp_path: Path
) -> None:
    migrate_at_once(database, tmp_path, 20)


def newer_version(folder: Path) -> None:
    """Copy the present code into `folder`, compiled files as well, and add a migration."""
    for package in ("service", "alembic"):
        shutil.copytree(ROOT / package, folder / package)
    text = NEWER.format(head=migrations.head())
    (folder / "alembic" / "versions" / "9999_added_later.py").write_text(text)


def migrating(folder: Path, dsn: str, output: Path, *, seconds: int = 0) -> "subprocess.Popen[bytes]":
    """`seconds`: how long the migration takes, or would."""
    with output.open("wb") as said:
        return subprocess.Popen(
            (sys.executable, "-m", "authmint_service.cli", "migrate"), cwd=folder, stdout=said, stderr=subprocess.STDOUT,
            env=environment(AUTHMINT_DATABASE_URL=dsn, PYTHONPATH=str(folder / "service" / "src"), SECONDS=str(seconds)),
        )  # fmt: skip


def wait_until_it_holds_the_lock(dsn: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            async with asyncio.timeout(30):
                asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
                while not await connection.fetchval(asleep):
                    await asyncio.sleep(0.05)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.mark.slow
def test_when_a_migrating_process_is_killed_another_one_completes_the_migration(
    database: DatabaseForTests, tmp_path: Path
) -> None:
    dsn, newer = new_database(database), tmp_path / "newer"
    asyncio.run(migrations.migrate(dsn))
    newer_version(newer)
    first = migrating(newer, dsn, tmp_path / "first", seconds=60)
    wait_until_it_holds_the_lock(dsn)
    second = migrating(newer, dsn, tmp_path / "second")
    first.kill()
    first.wait()
    started = time.monotonic()
    assert 0 == second.wait(30), (tmp_path / "second").read_text()
    sys.stdout.write(json.dumps({"the_next_was_done_after_seconds": round(time.monotonic() - started, 1)}) + "\n")
    assert "revision 9999" in (tmp_path / "second").read_text()
    assert ["9999"] == revisions(dsn)


async def refresh_during_migration(found: Site, dsn: str, newer: Path) -> None:
    """Refresh while a newer version migrates the database of the servers."""
    families = await people(found, dsn, 90)
    chaos = ChaosLoad(found.ports, random.Random(1))
    load = asyncio.gather(*(chaos.run(families[number::6], 20) for number in range(6)))
    process = await asyncio.to_thread(migrating, newer, dsn, newer / "said")
    assert 0 == await asyncio.to_thread(process.wait, 60)
    await load
    await check_all(dsn, families)
    assert [] == chaos.wrong


@pytest.mark.slow
def test_an_old_server_serves_on_a_newer_schema_and_says_so(database: DatabaseForTests, tmp_path: Path) -> None:
    dsn, newer = new_database(database), tmp_path / "newer"
    asyncio.run(migrations.migrate(dsn))
    asyncio.run(add_clients(dsn))
    newer_version(newer)
    with site(tmp_path, dsn) as found:
        asyncio.run(refresh_during_migration(found, dsn, newer))
        assert ["9999"] == revisions(dsn)
        # One server that ran before the migration, and one that starts now and would migrate.
        found.servers[0].kill()
        found.servers[0].start()
        found.servers[0].wait_until_ready()
        for port in found.ports:
            status, content, _ = fetch(f"http://127.0.0.1:{port}/readyz")
            assert (200, "ready") == (status, json.loads(content)["status"])
            assert "newer schema" in json.loads(content)["checks"]["schema"]["message"]
    old = run_forked(Program("authmint_service.cli", ("migrate",)), cwd=tmp_path, env=environment(AUTHMINT_DATABASE_URL=dsn))
    assert (0, "The database schema is at revision 9999.\n") == old
    assert ["9999"] == revisions(dsn)
