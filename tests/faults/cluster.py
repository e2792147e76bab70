"""A PostgreSQL that a test has made and may therefore harm: kill, restart and flood. No other one is ever harmed.

`initdb` runs once in each test process; every other cluster begins as a copy of that data folder, which has the schema and the
clients already. Tests that harm nothing share one cluster and have a database of their own in it, copied from a template.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authmint_service.embedded_postgres.programs import account_for, find_programs, run_as

OWNER = "authmint_test_owner"
OPTIONS = ("-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100")


TEMPLATE = "migrated"
"""The database with the schema and the clients; others are copied from it."""


class NotOurs(AssertionError):
    """The server was not made by this test, and is left alone."""


@dataclass(frozen=True)
class DatabaseForTests:
    """A database that a test may fill, on a server that it must not harm."""

    port: int
    name: str

    def dsn(self, name: str = "", *, port: int | None = None) -> str:
        """`name`: of another database; `port`: of a proxy in between."""
        return f"postgresql://authmint@127.0.0.1:{port or self.port}/{name or self.name}"


class Cluster:
    """One data folder and its server, on a port of its own."""

    def __init__(self, folder: Path, copied_from: "Cluster | None" = None) -> None:
        """`folder`: an empty one, for the data and the log. `copied_from`: one that is stopped; without it `initdb` runs."""
        self.data, self._log = folder / "data", folder / "log"
        self.database: str = copied_from.database if copied_from else "postgres"
        self._secret = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._programs = find_programs("18", self.data)
        folder.mkdir(exist_ok=True)
        self.data.mkdir(mode=0o700)
        self._account = account_for(folder, self.data)
        if self._account is not None:
            os.chown(self.data, self._account.pw_uid, self._account.pw_gid)
        if copied_from is None:
            options = ("--encoding=UTF8", "--locale=C", "--auth=trust", "--username=authmint", "--no-sync")
            self._run("initdb", *options, f"--pgdata={self.data}")
        else:
            assert not copied_from.is_running
            subprocess.run(["cp", "-a", f"{copied_from.data}/.", str(self.data)], check=True, timeout=60)
        (self.data / OWNER).write_text(self._secret)

    def dsn(self, database: str = "", port: int | None = None) -> str:
        """`port`: of a proxy in between."""
        return f"postgresql://authmint@127.0.0.1:{port or self.port}/{database or self.database}"

    @property
    def is_running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def start(self) -> None:
        """Wait until it responds. After a kill the old processes may need some time to end."""
        options = " ".join(("-p", str(self.port), *OPTIONS))
        deadline = time.monotonic() + 60
        while True:
            with self._log.open("ab") as log:
                said = run_as(
                    self._account,
                    [str(self._programs / "pg_ctl"), "start", "-s", "-w", "-t", "30", "-o", options],
                    needs=(self._programs / "postgres", self.data),
                    env={"PGDATA": str(self.data), "LC_ALL": "C", "PATH": os.defpath},
                    stdout=log.fileno(),
                    seconds=60,
                )
            if said.returncode == 0:
                return
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.1)

    def restart(self, mode: str) -> None:
        """`mode`: fast, or immediate, which leaves the log to be replayed."""
        self.postmaster()
        self._run("pg_ctl", "stop", "-s", "-w", "-m", mode, "-D", str(self.data))
        self.start()

    def postmaster(self) -> int:
        """Return the process id of the server. Raises NotOurs unless the folder, the number and the process belong together."""
        owner = self.data / OWNER
        if not owner.exists() or owner.read_text() != self._secret:
            raise NotOurs(f"{self.data} was not made here")
        lines = (self.data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
        if Path(lines[1]) != self.data or not _works_in(pid, self.data):
            raise NotOurs(f"process {pid} is no server of {self.data}")
        return pid

    def kill(self) -> None:
        """Send SIGKILL to the server itself; its child processes then end by themselves."""
        pid = self.postmaster()
        os.kill(pid, signal.SIGKILL)
        while _works_in(pid, self.data):
            time.sleep(0.01)

    def kill_backend(self, pid: int) -> None:
        """Send SIGKILL to the process of one connection: the server then ends all others, and replays its log."""
        parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
        if int(parent) != self.postmaster():
            raise NotOurs(f"process {pid} is no child of the server of {self.data}")
        os.kill(pid, signal.SIGKILL)

    def stop(self, mode: str = "immediate") -> None:
        if self.is_running:
            self.postmaster()
            self._run("pg_ctl", "stop", "-s", "-w", "-m", mode, "-D", str(self.data))

    def _run(self, name: str, *arguments: str) -> None:
        done = run_as(
            self._account,
            [str(self._programs / name), *arguments],
            needs=(self._programs / "postgres", self.data),
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdout=subprocess.PIPE,
            seconds=90,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")


def _works_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False


@contextmanager
def own_cluster(folder: Path, copied_from: Cluster | None = None) -> Iterator[Cluster]:
    """A running one, stopped and removed at the end."""
    cluster = Cluster(folder, copied_from)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
