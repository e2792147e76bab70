"""The embedded PostgreSQL: shared by processes, stopped by the last, found after a crash, and in folders with awkward names."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from authmint_service.embedded_postgres import EmbeddedPostgresError, embedded_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.process]

HOLD = """
import asyncio, sys
from pathlib import Path
from authmint_service.embedded_postgres import embedded_postgres

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def hold(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the server of a folder until its input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def dsn_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def release(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=60)


def is_running(folder: Path) -> bool:
    try:
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return False
    return Path(f"/proc/{pid}/cwd").exists()


async def test_it_keeps_its_data_listens_to_its_owner_alone_and_is_stopped_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded_postgres(folder) as dsn:
        await ask(dsn, "CREATE TABLE kept (value text)")
        await ask(dsn, "INSERT INTO kept VALUES ('value')")
        assert ("authmint", "authmint") == (await ask(dsn, "SELECT current_user"), await ask(dsn, "SELECT current_database()"))
        assert "" == await ask(dsn, "SHOW listen_addresses")
        assert "on" == await ask(dsn, "SHOW fsync")
        assert 0o700 == (folder / "postgres.socket").stat().st_mode & 0o777
        assert 0o700 == (folder / "postgres").stat().st_mode & 0o777
    assert not is_running(folder)
    async with embedded_postgres(folder) as dsn:
        assert "value" == await ask(dsn, "SELECT value FROM kept")


async def test_several_processes_share_one_server_and_the_last_to_release_it_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    holders = [hold(folder) for _ in range(4)]
    assert 1 == len({dsn_of(holder) for holder in holders})
    for holder in holders[:-1]:
        release(holder)
        assert is_running(folder)
    release(holders[-1])
    assert not is_running(folder)


async def test_after_a_process_was_killed_the_next_finds_the_server_and_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    holder = hold(folder)
    dsn = dsn_of(holder)
    await ask(dsn, "CREATE TABLE kept ()")
    holder.kill()
    release(holder)
    assert is_running(folder)
    async with embedded_postgres(folder) as again:
        assert dsn == again
        assert 0 == await ask(again, "SELECT count(*) FROM kept")
    assert not is_running(folder)


async def test_after_the_server_was_killed_the_next_start_recovers(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    holder = hold(folder)
    dsn = dsn_of(holder)
    await ask(dsn, "CREATE TABLE kept ()")
    pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    # It is the server of this test: its working directory is the folder that the test has made.
    assert Path(f"/proc/{pid}/cwd").samefile(folder / "postgres")
    os.kill(pid, signal.SIGKILL)
    release(holder)
    async with embedded_postgres(folder) as again:
        assert 0 == await ask(again, "SELECT count(*) FROM kept")


async def test_a_pid_file_that_names_another_program_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded_postgres(folder):
        lines = (folder / "postgres" / "postmaster.pid").read_text().splitlines()
    pid_file = folder / "postgres" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    os.chown(pid_file, (folder / "postgres").stat().st_uid, -1)
    async with embedded_postgres(folder) as dsn:
        assert 1 == await ask(dsn, "SELECT 1")


@pytest.mark.parametrize("name", ["with a space", "ünïcödé", "quo'te", "deep/" * 20 + "x" * 40, "com,ma"])
async def test_it_works_in_folders_with_awkward_names(tmp_path: Path, name: str) -> None:
    async with embedded_postgres(tmp_path / name) as dsn:
        assert 1 == await ask(dsn, "SELECT 1")


async def test_it_works_below_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    async with embedded_postgres(tmp_path / "closed" / "data") as dsn:
        assert 1 == await ask(dsn, "SELECT 1")
    assert 0o700 == (tmp_path / "closed").stat().st_mode & 0o777


async def test_a_caller_that_is_cancelled_during_the_start_leaves_no_server_running(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    async def use() -> None:
        async with embedded_postgres(folder):
            await asyncio.sleep(60)

    for pause in (0.05, 0.4, 0.02):
        task = asyncio.create_task(use())
        await asyncio.sleep(pause)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(folder)


async def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedPostgresError, match="cannot be used") as raised:
        async with embedded_postgres(tmp_path / "file" / "data"):
            pass
    assert "\n" not in str(raised.value)


async def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 12"):
        async with embedded_postgres(folder):
            pass


STARTUP = b"\x00\x03\x00\x00user\x00authmint\x00database\x00authmint\x00\x00"


def answer_to_unprivileged(socket_folder: Path) -> bytes:
    """What a process of the user `nobody` gets at the socket: the type of PostgreSQL's first message, or nothing."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.setgroups([])
            os.setgid(pwd.getpwnam("nobody").pw_gid)
            os.setuid(pwd.getpwnam("nobody").pw_uid)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(socket_folder / ".s.PGSQL.5432"))
                client.sendall((len(STARTUP) + 4).to_bytes(4, "big") + STARTUP)
                os.write(write, client.recv(1))
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(process, 0)
    with os.fdopen(read, "rb") as answer:
        return answer.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="for any other user the server runs as that user")
async def test_a_folder_of_roots_that_others_may_enter_is_closed_before_a_server_runs_in_it() -> None:
    """Kind: an administrator by accident. The server of root runs as `nobody`, which other programs do too."""
    with TemporaryDirectory() as outer:
        Path(outer).chmod(0o711)
        folder = Path(outer) / "data"
        folder.mkdir(mode=0o755)
        async with embedded_postgres(folder):
            assert 0o700 == folder.stat().st_mode & 0o777
            assert b"" == answer_to_unprivileged(folder / "postgres.socket")
            # Even if an administrator opens it again, the server asks which user connects.
            folder.chmod(0o711)
            assert b"E" == answer_to_unprivileged(folder / "postgres.socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="for any other user the server runs as that user")
async def test_a_shared_folder_of_roots_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    (folder / "file of another program").touch()
    with pytest.raises(EmbeddedPostgresError, match=f"Run: chmod 700 {folder}, or") as raised:
        async with embedded_postgres(folder):
            pass
    assert "\n" not in str(raised.value)
    assert (0o755, False) == (folder.stat().st_mode & 0o777, (folder / "postgres").exists())


async def test_data_of_a_server_that_trusted_everyone_is_served_to_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded_postgres(folder):
        pass
    rules = folder / "postgres" / "pg_hba.conf"
    rules.write_text("local all all trust\n")
    async with embedded_postgres(folder) as dsn:
        assert 1 == await ask(dsn, "SELECT 1")
        assert ["peer"] == [line.split()[3] for line in rules.read_text().splitlines()]
        user = "root" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        assert user in (folder / "postgres" / "pg_ident.conf").read_text()
