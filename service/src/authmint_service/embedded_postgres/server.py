"""The PostgreSQL server of one data folder: create, start, find and stop it. The caller holds the start lock."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from authmint_service.embedded_postgres.programs import (
    START_SECONDS,
    EmbeddedPostgresError,
    account_for,
    find_programs,
    keep_others_out,
    name_of_owner,
    run_as,
)

NEWEST_VERSION = "18"
ROLE = DATABASE = "authmint"
STOP_SECONDS = 30
MAX_SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432")
"""The kernel limits the address of a socket."""


def open_for_owner(path: Path, flags: int) -> int:
    """Open a file that belongs to the folder's owner, also when root creates it. Return the descriptor."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


@dataclass(frozen=True)
class _Postmaster:
    """What a running server writes about itself to `postmaster.pid`."""

    pid: int
    socket_folder: str
    ready: bool


class Server:
    """The server of one data folder. The caller of a method holds the start lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "postgres"
        self._log = folder / "postgres.log"
        version = (self._data / "PG_VERSION").read_text().strip() if self._data.exists() else NEWEST_VERSION
        self._binaries = find_programs(version, self._data)
        self._account = account_for(folder, self._data)
        keep_others_out(folder, self._account)

    def ensure_running(self) -> str:
        """Return a DSN of the running server. Create and start it if needed. Raise EmbeddedPostgresError."""
        if not self._data.exists():
            self._initialise()
        failure = ""
        # Try again: a start that was interrupted from outside may still be under way, or its processes may be stopping.
        for pause in (0, 1, 2):
            time.sleep(pause)
            postmaster = self._wait_until_settled()
            if postmaster is None:
                self._write_access()
                failure = self._start()
                postmaster = self._wait_until_settled()
            if postmaster is not None:
                return _dsn(postmaster)
        raise EmbeddedPostgresError(f"PostgreSQL did not start in {self._data}: {failure} The log is {self._log}.")

    def stop(self) -> None:
        """Stop the server if it runs. Raise EmbeddedPostgresError if it does not stop."""
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
        """Create the cluster in a temporary folder and rename it when it is complete, so that a crash leaves no half of it."""
        for left_over in self._folder.glob("postgres.new-*"):
            shutil.rmtree(left_over)
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._folder))
        self._give(unfinished)
        options = ["--encoding=UTF8", "--locale=C", "--auth=peer", f"--username={ROLE}", f"--pgdata={unfinished}"]
        done = self._run("initdb", *options, seconds=2 * START_SECONDS)
        if done.returncode != 0:
            shutil.rmtree(unfinished)
            raise EmbeddedPostgresError(f"PostgreSQL's files could not be made in {self._data}: {_last_line(done.stdout)}")
        self._create_database(unfinished)
        unfinished.rename(self._data)

    def _create_database(self, cluster: Path) -> None:
        """Create the database in a cluster whose server does not run."""
        statement = f"CREATE DATABASE {DATABASE};\n".encode()
        done = self._run("postgres", "--single", "-D", str(cluster), "postgres", input_bytes=statement)
        if done.returncode != 0:
            shutil.rmtree(cluster)
            raise EmbeddedPostgresError(f"PostgreSQL could not create a database: {_last_line(done.stdout)}")

    def _write_access(self) -> None:
        """Admit root and the owner of the data folder, by the user that their process runs as, and no one else."""
        users = {"root", name_of_owner(self._folder)}
        for name, lines in (
            ("pg_hba.conf", [f"local all all peer map={ROLE}"]),
            ("pg_ident.conf", [f'{ROLE} "{user}" all' for user in sorted(users)]),
        ):
            # Written by the server's user: root must not follow what that user has put there.
            content = "".join(f"{line}\n" for line in lines).encode()
            done = self._run_program("sh", "-c", 'cat > "$0"', str(self._data / name), input_bytes=content)
            if done.returncode != 0:
                raise EmbeddedPostgresError(f"{self._data / name} cannot be written: {_last_line(done.stdout)}")

    def _start(self) -> str:
        """Start the server and wait until it is ready. Return the last line of its log since then."""
        self._remove_stale_pid_file()
        options = ["-p", "5432", "-k", self._socket_folder(), "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]
        with os.fdopen(open_for_owner(self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b") as log:
            start = log.seek(0, os.SEEK_END)
            # The log is the standard output, not `-l`: this process opens it, also where the user of the server could not.
            self._run("pg_ctl", "start", "-s", "-w", "-t", str(START_SECONDS), "-o", shlex.join(options), output=log.fileno())
            log.seek(start)
            return _last_line(log.read())

    def _run(
        self,
        name: str,
        *arguments: str,
        seconds: int = START_SECONDS + 10,
        input_bytes: bytes = b"",
        output: int = subprocess.PIPE,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run one of PostgreSQL's programs in its own session, so that Ctrl-C does not reach it, and in a fixed environment."""
        program = str(self._binaries / name)
        return self._run_program(program, *arguments, seconds=seconds, input_bytes=input_bytes, output=output)

    def _run_program(
        self,
        *command: str,
        seconds: int = START_SECONDS + 10,
        input_bytes: bytes = b"",
        output: int = subprocess.PIPE,
    ) -> "subprocess.CompletedProcess[bytes]":
        return run_as(
            self._account,
            command,
            needs=(self._binaries / "postgres", self._data),
            env={"PGDATA": str(self._data), "LC_ALL": "C", "PATH": os.defpath},
            input_bytes=input_bytes,
            stdout=output,
            seconds=seconds,
        )

    def _wait_until_settled(self) -> _Postmaster | None:
        """Return the running server once it is ready, or None once there is none. Raise EmbeddedPostgresError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            postmaster = _read_postmaster(self._data)
            if postmaster is None or not _is_alive(postmaster.pid, self._data):
                return None
            if postmaster.ready:
                return postmaster
            time.sleep(0.05)
        raise EmbeddedPostgresError(f"PostgreSQL in {self._data} is neither ready nor stopped after {START_SECONDS} seconds.")

    def _remove_stale_pid_file(self) -> None:
        """Remove a `postmaster.pid` whose process id now belongs to another program: PostgreSQL would refuse to start."""
        stale = _read_postmaster(self._data)
        if stale is not None:
            _remove_socket_folder(stale.socket_folder)
            if Path(f"/proc/{stale.pid}").exists():
                (self._data / "postmaster.pid").unlink()

    def _socket_folder(self) -> str:
        """Create and return the folder of the socket.

        It is in the data folder if the kernel and PostgreSQL's list syntax allow its path, else a private temporary folder.
        """
        folder = self._folder / "postgres.socket"
        plain = re.fullmatch(r"[\w./@+-]+", str(folder), re.ASCII) is not None
        if plain and len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER_BYTES:
            folder.mkdir(mode=0o700, exist_ok=True)
        else:
            # The outer folder stays root's, so that other processes of the server's user cannot enter it.
            folder = Path(tempfile.mkdtemp(prefix="authmint-postgres-")) / "s"
            folder.mkdir(mode=0o700)
            if len(os.fsencode(folder)) > MAX_SOCKET_FOLDER_BYTES:
                shutil.rmtree(folder.parent)
                raise EmbeddedPostgresError(
                    f"No folder for PostgreSQL's socket: {folder} is too long; set TMPDIR to a shorter one."
                )
        self._give(folder)
        return str(folder)

    def _give(self, folder: Path) -> None:
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)


def _dsn(postmaster: _Postmaster) -> str:
    return f"postgresql://{ROLE}@/{DATABASE}?host={postmaster.socket_folder}"


def _read_postmaster(data: Path) -> _Postmaster | None:
    """Return the content of `postmaster.pid`, or None while there is none or it is being written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not lines[0].isdecimal():
        return None
    return _Postmaster(int(lines[0]), lines[4], ready=len(lines) > 7 and lines[7].strip() == "ready")


def _is_alive(pid: int, data: Path) -> bool:
    """Return whether `pid` is a PostgreSQL of this data folder: its working directory. The id may be another program's."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except PermissionError:
        return True
    except OSError:
        return False


def _remove_socket_folder(folder: str) -> None:
    """Remove a private temporary folder after its server has stopped. The one in the data folder stays."""
    outer = Path(folder).parent
    if outer.name.startswith("authmint-postgres-"):
        shutil.rmtree(outer, ignore_errors=True)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing."
