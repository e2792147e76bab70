"""The PostgreSQL of one data folder: made, started, asked for, stopped. Called by whoever holds the start lock."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from authmint_service.embedded_postgres.programs import START_SECONDS, EmbeddedPostgresError, account_for, find_programs, run_as

NEWEST = "18"
ROLE = "authmint"
STOP_SECONDS = 30
SOCKET_FOLDER_LIMIT = 107 - len("/.s.PGSQL.5432")  # bytes: what the kernel takes for a socket's address


def open_for_owner(path: Path, flags: int) -> int:
    """Opens a file that belongs to the folder's owner, also when root is the first to need it."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


@dataclass(frozen=True)
class _Postmaster:
    """What a running server says of itself in `postmaster.pid`."""

    pid: int
    socket_folder: str
    ready: bool


class Server:
    """The PostgreSQL of one data folder. Its methods are called by the one who holds the start lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "postgres"
        self._log = folder / "postgres.log"
        version = (self._data / "PG_VERSION").read_text().strip() if self._data.exists() else NEWEST
        self._binaries = find_programs(version, self._data)
        self._account = account_for(folder, self._data)

    def ensure_running(self) -> str:
        if not self._data.exists():
            self._initialise()
        failure = ""
        # More than once: a start that was interrupted from outside may still be under way, or its remains may be ending.
        for pause in (0, 1, 2):
            time.sleep(pause)
            postmaster = self._wait_until_settled()
            if postmaster is None:
                failure = self._start()
                postmaster = self._wait_until_settled()
            if postmaster is not None:
                return _dsn(postmaster)
        raise EmbeddedPostgresError(f"PostgreSQL did not start in {self._data}: {failure} The whole log is {self._log}.")

    def stop(self) -> None:
        postmaster = self._wait_until_settled()
        if postmaster is None:
            return
        for mode, seconds in (("fast", STOP_SECONDS), ("immediate", 10)):
            if self._run("pg_ctl", "stop", "-s", "-w", "-m", mode, "-t", str(seconds), seconds=seconds + 10).returncode == 0:
                break
        else:
            raise EmbeddedPostgresError(f"PostgreSQL (process {postmaster.pid}) in {self._data} does not stop.")
        _remove_socket_folder(postmaster.socket_folder)

    def _initialise(self) -> None:
        """Makes the cluster beside its place and moves it there whole, so that a crash leaves no half of one."""
        for remains in self._folder.glob("postgres.new-*"):
            shutil.rmtree(remains)
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._folder))
        self._give(unfinished)
        options = ["--encoding=UTF8", "--locale=C", "--auth=trust", f"--username={ROLE}", f"--pgdata={unfinished}"]
        made = self._run("initdb", *options, seconds=2 * START_SECONDS)
        if made.returncode != 0:
            shutil.rmtree(unfinished)
            raise EmbeddedPostgresError(f"PostgreSQL's files could not be made in {self._data}: {_last_line(made.stdout)}")
        unfinished.rename(self._data)

    def _start(self) -> str:
        """Starts the server and waits until it answers; says what went wrong, or nothing."""
        self._remove_stale_pid_file()
        options = ["-p", "5432", "-k", self._socket_folder(), "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]
        with os.fdopen(open_for_owner(self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b") as log:
            said_before = log.seek(0, os.SEEK_END)
            # The log is our standard output, not `-l`: so it is opened by us, wherever it is.
            self._run("pg_ctl", "start", "-s", "-w", "-t", str(START_SECONDS), "-o", shlex.join(options), output=log.fileno())
            log.seek(said_before)
            return _last_line(log.read())

    def _run(
        self, name: str, *arguments: str, seconds: int = START_SECONDS + 10, output: int = subprocess.PIPE
    ) -> "subprocess.CompletedProcess[bytes]":
        """Runs one of PostgreSQL's programs in a session of its own (Ctrl-C is for us), in an environment without surprises."""
        return run_as(
            self._account,
            [str(self._binaries / name), *arguments],
            needs=(self._binaries / "postgres", self._data),
            env={"PGDATA": str(self._data), "LC_ALL": "C", "PATH": os.defpath},
            stdout=output,
            seconds=seconds,
        )

    def _wait_until_settled(self) -> _Postmaster | None:
        """The running server once it is ready; None once there is none."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            postmaster = _read_postmaster(self._data)
            if postmaster is None or not _is_alive(postmaster.pid, self._data):
                return None
            if postmaster.ready:
                return postmaster
            time.sleep(0.05)
        raise EmbeddedPostgresError(f"PostgreSQL in {self._data} is neither ready nor gone after {START_SECONDS} seconds.")

    def _remove_stale_pid_file(self) -> None:
        """Removes a `postmaster.pid` whose number now belongs to another program: PostgreSQL itself would not dare to start."""
        left = _read_postmaster(self._data)
        if left is not None:
            _remove_socket_folder(left.socket_folder)
            if Path(f"/proc/{left.pid}").exists():
                (self._data / "postmaster.pid").unlink()

    def _socket_folder(self) -> str:
        """In the data folder if the kernel and PostgreSQL's list syntax allow its path, else a private temporary one."""
        folder = self._folder / "postgres.socket"
        plain = re.fullmatch(r"[\w./@+-]+", str(folder), re.ASCII) is not None
        if plain and len(os.fsencode(folder)) <= SOCKET_FOLDER_LIMIT:
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            # Root keeps the outer folder, so that the account that runs the server is no way in for others of that account.
            folder = Path(tempfile.mkdtemp(prefix="authmint-postgres-")) / "s"
            folder.mkdir(mode=0o700)
            if len(os.fsencode(folder)) > SOCKET_FOLDER_LIMIT:
                raise EmbeddedPostgresError(
                    f"No folder for PostgreSQL's socket: {folder} is too long; set TMPDIR to a shorter one."
                )
        self._give(folder)
        return str(folder)

    def _give(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)


def _dsn(postmaster: _Postmaster) -> str:
    return f"postgresql://{ROLE}@/postgres?host={postmaster.socket_folder}"


def _read_postmaster(data: Path) -> _Postmaster | None:
    """What `postmaster.pid` says; None while there is none, or while it is still being written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not lines[0].isdecimal():
        return None
    return _Postmaster(int(lines[0]), lines[4], ready=len(lines) > 7 and lines[7].strip() == "ready")


def _is_alive(pid: int, data: Path) -> bool:
    """Whether `pid` is a PostgreSQL of this data folder, which is where it works: a number alone may be another program's."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except PermissionError:
        return True
    except OSError:
        return False


def _remove_socket_folder(folder: str) -> None:
    """Removes a private temporary folder after its server has gone. The one in the data folder stays."""
    outer = Path(folder).parent
    if outer.name.startswith("authmint-postgres-"):
        shutil.rmtree(outer, ignore_errors=True)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing."
