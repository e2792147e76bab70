"""Whole processes, started and stopped the way an operator does it; each test has its own folder and its own ports."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = str(Path(sys.executable).with_name("uv"))
"""Installs what pip would, but as hard links from one cache: a full environment takes 2 s of CPU time instead of 40 s."""


def free_ports(count: int) -> list[int]:
    """Return `count` ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def create_venv(folder: Path) -> Path:
    """Make an empty virtual environment of this interpreter. Return its interpreter, for `uv_pip`."""
    subprocess.run([UV, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)], check=True, timeout=60)
    return folder / "bin" / "python"


def uv_pip(command: str, python: Path, *arguments: str) -> str:
    """Run `uv pip command` for the environment of `python`. Return what it wrote. Raises CalledProcessError."""
    done = subprocess.run(
        [UV, "pip", command, "--quiet", "--python", str(python), *arguments],
        cwd=ROOT.parent, env=environment(), stdout=subprocess.PIPE, text=True, check=True, timeout=240,
    )  # fmt: skip
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with `more`, and without the settings of the developer who runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUTHMINT_", "ORDERS_", "DEMO_", "MAKE", "MFLAGS"))
    }
    return kept | more


def fetch(
    url: str, *, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """Return status, body and headers of a response, whatever the status. Uses no proxy."""
    from urllib.parse import urlencode

    request = urllib.request.Request(
        url, data=urlencode(data).encode() if data is not None else None, headers=dict(headers or {})
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers.items())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers.items())


class Process(Protocol):
    """What tests use of `subprocess.Popen`. The fault tests have another one that is forked."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, or nothing when the process has ended."""

    def kill(self) -> None:
        """Send SIGKILL."""


class Running:
    """A process that leads a session of its own, and what it has written so far."""

    def __init__(self, process: Process, output: Path) -> None:
        self.process, self._output = process, output

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_for(self, url: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said
            with suppress(OSError):
                if fetch(url)[0] == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"{url} did not answer with 200 within {seconds} s:\n{self.said}")

    def wait_until_it_says(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def running(*command: str, cwd: Path, env: Mapping[str, str], output: Path) -> Iterator[Running]:
    """A process that is ended, by its own id, when the block is left. Nothing of its session may outlive it."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with ended_at_exit(process, output) as started:
        yield started


@contextmanager
def ended_at_exit(process: Process, output: Path) -> Iterator[Running]:
    """`process`, which is stopped when the block is left, and killed if it does not stop."""
    started = Running(process, output)
    try:
        yield started
    finally:
        with suppress(subprocess.TimeoutExpired):
            started.stop()
        if process.poll() is None:
            process.kill()
            process.wait()
