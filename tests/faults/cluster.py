"""A PostgreSQL that a test has made, and may therefore harm: it is killed, restarted and flooded, and nobody else's ever is."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authmint_service.embedded_postgres.programs import account_for, find_programs, run_as

OWNER = "authmint_test_owner"
OPTIONS = ("-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100")


class NotOurs(AssertionError):
    """Whatever is there was not made by this test, and is left alone."""


class Cluster:
    """One data folder and its server, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one, for the data and the log."""
        self.data, self._log = folder / "data", folder / "log"
        self._secret = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._programs = find_programs("18", self.data)
        folder.mkdir(exist_ok=True)
        self.data.mkdir(mode=0o700)
        self._account = account_for(folder, self.data)
        if self._account is not None:
            os.chown(self.data, self._account.pw_uid, self._account.pw_gid)
        self._run("initdb", "--encoding=UTF8", "--locale=C", "--auth=trust", "--username=authmint", f"--pgdata={self.data}")
        (self.data / OWNER).write_text(self._secret)

    def dsn(self, database: str = "postgres", port: int | None = None) -> str:
        """`port`: of a proxy in between."""
        return f"postgresql://authmint@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Waits until it answers. After a kill the last of the old processes may take a moment to go."""
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
        """The process id of the server. Raises NotOurs unless the folder, the number and the process belong together."""
        owner = self.data / OWNER
        if not owner.exists() or owner.read_text() != self._secret:
            raise NotOurs(f"{self.data} was not made here")
        lines = (self.data / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
        if Path(lines[1]) != self.data or not _works_in(pid, self.data):
            raise NotOurs(f"process {pid} is no server of {self.data}")
        return pid

    def kill(self) -> None:
        """SIGKILL to the server itself; its children notice and go."""
        pid = self.postmaster()
        os.kill(pid, signal.SIGKILL)
        while _works_in(pid, self.data):
            time.sleep(0.01)

    def kill_a_backend(self, pid: int) -> None:
        """SIGKILL to one connection's process: the server then throws out all the others, and replays its log."""
        parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
        if int(parent) != self.postmaster():
            raise NotOurs(f"process {pid} is no child of the server of {self.data}")
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.postmaster()
            self._run("pg_ctl", "stop", "-s", "-w", "-m", "immediate", "-D", str(self.data))

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
def own_cluster(folder: Path) -> Iterator[Cluster]:
    """A running one, stopped and removed at the end."""
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
