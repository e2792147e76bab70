"""Behind PgBouncer in transaction mode, with the setting that the documentation names, the service does its main job (L9)."""

import asyncio
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from authmint_service.change_feed import ChangeKind, change_transaction
from authmint_service.change_feed.transaction import LIMIT_PAUSES, TAKE_TURN
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from tests.e2e.conftest import environment, free_ports, running
from tests.faults.chaos_load import ChaosLoad, check_all
from tests.faults.cluster import DatabaseForTests
from tests.faults.fork_server import Program, run_forked
from tests.faults.http import Answer, Connection
from tests.faults.servers import Site, site
from tests.faults.test_sigkill import people

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
PASSWORD = "seven green parrots in a boat"


@contextmanager
def pgbouncer(postgres_port: int) -> Iterator[int]:
    """The port of a PgBouncer before the server at `postgres_port`; it has three connections to it, however many clients."""
    assert PGBOUNCER is not None, "This test needs PgBouncer. On Debian, as root: apt-get install pgbouncer"
    with TemporaryDirectory() as folder, _running_in(Path(folder), postgres_port) as port:
        yield port


@contextmanager
def _running_in(folder: Path, postgres_port: int) -> Iterator[int]:
    (port,) = free_ports(1)
    (folder / "users").write_text('"authmint" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres_port} user=authmint\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\n"
    )
    # It refuses to be root; and pytest's folders are open to root alone.
    folder.chmod(0o755)
    before = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--") if os.geteuid() == 0 else ()
    command = (*before, str(PGBOUNCER), str(folder / "pgbouncer.ini"))
    with running(*command, cwd=folder, env=environment(), output=folder / "said") as started:
        started.wait_until_it_says("process up")
        yield port


async def sign_in(found: Site) -> None:
    """Sign in, refresh and sign out; afterwards the token is refused."""
    first, second = (Connection(port) for port in found.ports)

    async def ask(connection: Connection, path: str, **form: str) -> Answer:
        return await connection.ask("POST", path, {"client_id": "spa", **form})

    signed_in = await ask(first, "/token", grant_type="password", username="anna", password=PASSWORD)
    assert 200 == signed_in.status, signed_in.content
    refreshed = await ask(second, "/token", grant_type="refresh_token", refresh_token=signed_in.members["refresh_token"])
    assert 200 == refreshed.status
    assert 200 == (await ask(first, "/revoke", token=refreshed.members["refresh_token"])).status
    refused = await ask(second, "/token", grant_type="refresh_token", refresh_token=refreshed.members["refresh_token"])
    assert (400, "invalid_grant") == (refused.status, refused.members["error"])
    for connection in (first, second):
        connection.close()


async def change_a_client(found: Site, folder: Path) -> None:
    """Disable and enable a client by commands; each server sees it within two seconds."""
    connections = [Connection(port) for port in found.ports]
    for name, expected in (("disable", "invalid_client"), ("enable", "invalid_grant")):
        await asyncio.to_thread(command, found, folder, "clients", name, "hasty")
        async with asyncio.timeout(2):
            for connection in connections:
                form = {"grant_type": "refresh_token", "client_id": "hasty", "refresh_token": "amrt_nothing"}
                while (await connection.ask("POST", "/token", form)).members["error"] != expected:
                    await asyncio.sleep(0.02)
    for connection in connections:
        connection.close()


async def stop_with_the_turn(dsn: str) -> None:
    """Take the turn and go away without a word: PostgreSQL ends the transaction, and the next change is made."""
    silent = await asyncpg.connect(dsn, statement_cache_size=0)
    await silent.execute("BEGIN")
    await silent.fetchval(LIMIT_PAUSES, "500")
    await silent.fetchval(TAKE_TURN)
    async with (database := Database(size=2, statement_cache=0)).open(dsn), asyncio.timeout(5):
        async with change_transaction(database) as change:
            await change.record(ChangeKind.CLIENT, "nothing", takes=False)
        with pytest.raises(DatabaseUnavailable):
            async with change_transaction(database) as change:
                await change.connection.execute("SELECT pg_sleep(2)")
        async with change_transaction(database) as change:
            await change.record(ChangeKind.CLIENT, "nothing", takes=False)
        # Nothing of the limits is left on a connection that others get.
        for _ in range(8):
            assert "0" == await database.fetch_value("SELECT current_setting('statement_timeout')")
            assert "0" == await database.fetch_value("SELECT current_setting('idle_in_transaction_session_timeout')")
    silent.terminate()


def command(found: Site, folder: Path, *arguments: str, stdin: str = "") -> None:
    code, written = run_forked(Program("authmint_service.cli", arguments), cwd=folder, env=found.env, stdin=stdin)
    assert 0 == code, written


async def refresh_at_once(found: Site, database: DatabaseForTests) -> None:
    families = await people(found, database.dsn(), 60)
    load = ChaosLoad(found.ports, random.Random(1))
    await asyncio.gather(*(load.run(families[number::12], 20) for number in range(12)))
    operations = await check_all(database.dsn(), families)
    sys.stdout.write(json.dumps({"operations": operations, "saw": dict(load.counts), "violations": 0}) + "\n")
    assert [] == load.wrong
    assert 0 == load.counts["503"]


@pytest.mark.timeout(110)
def test_behind_pgbouncer_in_transaction_mode_the_service_does_its_main_job(database: DatabaseForTests, tmp_path: Path) -> None:
    with pgbouncer(database.port) as port:
        context = site(
            tmp_path, database.dsn(port=port), AUTHMINT_DATABASE_STATEMENT_CACHE="0", AUTHMINT_ENVIRONMENT="production",
            AUTHMINT_DRAIN_SECONDS="0",
        )  # fmt: skip
        with context as found:
            command(found, tmp_path, "accounts", "add", "anna", "--password-stdin", stdin=f"{PASSWORD}\n")
            asyncio.run(sign_in(found))
            command(found, tmp_path, "keys", "rotate")
            asyncio.run(change_a_client(found, tmp_path))
            asyncio.run(refresh_at_once(found, database))
            asyncio.run(stop_with_the_turn(database.dsn(port=port)))
