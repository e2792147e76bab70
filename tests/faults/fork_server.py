"""A process that has imported the token service once, and forks a child for each server that a fault test starts.

Importing costs two seconds of CPU time, a fork some milliseconds. A child is what the command would be: it leads a session of
its own, has the environment, working folder and output that the test gives, and reads its settings after the fork. It differs
in one point: the modules are loaded already. End-to-end tests start the real command.

The parent has one thread and no event loop, so a fork copies no held lock. It ends when its standard input does, and kills the
children that are left. Each connection to its Unix socket stands for one child: the request goes in, the child's process id and
a pidfd come back, and at the end its exit code and CPU time.
"""

import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.e2e.conftest import ROOT, Running, ended_at_exit, environment

IMPORTED = (
    "authmint_service.app", "authmint_service.cli", "authmint_service.passwords", "authmint_service.serving",
    "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl", "uvloop", "tests.faults.sign_in_load",
)  # fmt: skip
MAX_REQUEST = 256 * 1024
"""Bytes of one request."""


@dataclass(frozen=True)
class Program:
    """A module with a function `main`, and its arguments on the command line."""

    module: str
    arguments: tuple[str, ...] = ()


class ForkedProcess:
    """A child of the fork server, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, connection: socket.socket) -> None:
        """`connection`: the request has been sent on it."""
        content, (self._pidfd,), _, _ = socket.recv_fds(connection, 64, 1)
        self.pid = int(content)
        self.returncode: int | None = None
        self._connection = connection
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                report = self._connection.recv(64)
                # No report means that the fork server itself has died, and its children are killed with it.
                self.returncode, used = json.loads(report) if report else (-signal.SIGKILL, 0.0)
                _used_seconds.append(used)
                self._connection.close()
                os.close(self._pidfd)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._connection, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to this process and to no other: a pidfd never stands for a later process with the same number."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The parent process, seen from the tests."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="authmint-fork-"))
        self._output = self._folder / "said"
        address = self._folder / "socket"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "tests.faults.fork_server", str(address)),
                cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", self._output.read_text(errors="replace")
        self._address = str(address)

    def start(
        self, program: Program, *, cwd: Path, env: Mapping[str, str], output: Path, stdin: Path = Path(os.devnull)
    ) -> ForkedProcess:
        """Fork a child that runs `program`; both of its outputs go to the file `output`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST)
        connection.connect(self._address)
        request = {
            "module": program.module, "arguments": program.arguments, "cwd": str(cwd), "env": dict(env), "stdin": str(stdin),
            "output": str(output),
        }  # fmt: skip
        connection.send(json.dumps(request).encode())
        return ForkedProcess(connection)

    def stop(self) -> None:
        """End the parent, and with it every child that is left."""
        self._process.communicate(timeout=30)
        shutil.rmtree(self._folder)


_used_seconds: list[float] = []
_shared: list[ForkServer] = []


def shared_fork_server() -> ForkServer:
    """Return the one of this test process, started at its first use. `stop_shared_fork_server` ends it."""
    if not _shared:
        _shared.append(ForkServer())
    return _shared[0]


def stop_shared_fork_server() -> None:
    while _shared:
        _shared.pop().stop()


@contextmanager
def forked(program: Program, *, cwd: Path, env: Mapping[str, str], output: Path) -> Iterator[Running]:
    """A child of the shared fork server that is ended when the block is left; `running` starts a real command instead."""
    process = shared_fork_server().start(program, cwd=cwd, env=env, output=output)
    with ended_at_exit(process, output) as started:
        yield started


def run_forked(program: Program, *, cwd: Path, env: Mapping[str, str], stdin: str = "") -> tuple[int, str]:
    """Run a program to its end. Return its exit code and what it wrote."""
    given, output = cwd / "given", cwd / "written"
    given.write_text(stdin)
    process = shared_fork_server().start(program, cwd=cwd, env=env, output=output, stdin=given)
    with ended_at_exit(process, output) as started:
        return process.wait(60), started.said


def cpu_seconds() -> float:
    """Return the CPU time, user and system, of all children that have ended."""
    return sum(_used_seconds)


@dataclass
class _Parent:
    """What the parent process holds: its listener, and a connection for each child that runs."""

    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self) -> None:
        """Fork and reap until standard input ends."""
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self.selector.register(0, selectors.EVENT_READ)
        self.selector.register(reader, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in self.selector.select()}
            if 0 in ready:
                break
            if reader in ready:
                os.read(reader, 4096)
                self._reap()
            if self.listener.fileno() in ready:
                self._fork((reader, writer))
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            os.waitpid(pid, 0)

    def _reap(self) -> None:
        # Only this parent reaps its children, so each process id that is waited for is still theirs.
        for pid in tuple(self.children):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                with self.children.pop(pid) as connection, suppress(OSError):
                    report = (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)
                    connection.send(json.dumps(report).encode())

    def _fork(self, own: tuple[int, int]) -> None:
        connection, _ = self.listener.accept()
        request = json.loads(connection.recv(MAX_REQUEST))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Closed as objects: a socket that is closed when it is collected would close a later one with the same number.
            for one in (connection, self.listener, *self.children.values()):
                one.close()
            self.selector.close()
            for descriptor in own:
                os.close(descriptor)
            _run(**request)
        self.children[pid] = connection
        pidfd = os.pidfd_open(pid)
        with suppress(OSError):
            socket.send_fds(connection, [str(pid).encode()], [pidfd])
        os.close(pidfd)


def _run(module: str, arguments: list[str], cwd: str, env: dict[str, str], stdin: str, output: str) -> NoReturn:
    """Become the program. The child never returns into the parent's code."""
    code = 1
    try:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        source, file = os.open(stdin, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for descriptor, target in ((source, 0), (file, 1), (file, 2)):
            os.dup2(descriptor, target)
        for descriptor in (source, file):
            os.close(descriptor)
        sys.argv = [module, *arguments]
        importlib.import_module(module).main()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import, listen at the address that is the first argument, and say `ready`."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "an import has started a thread, whose locks a fork would copy"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        # Objects that exist now are never collected, so a collection in a child copies no shared page.
        gc.collect()
        gc.freeze()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _Parent(listener).serve()


if __name__ == "__main__":
    main()
