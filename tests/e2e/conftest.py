"""Whole processes, started and stopped the way a person would; each test has its own folder and its own ports."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without the settings of whoever runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUTHMINT_", "ORDERS_", "DEMO_", "MAKE", "MFLAGS"))
    }
    return kept | more


def fetch(
    url: str, *, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of an answer, whatever the status. Asks no proxy."""
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


class Running:
    """A process in a session of its own, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
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
    started = Running(process, output)
    try:
        yield started
    finally:
        with suppress(subprocess.TimeoutExpired):
            started.stop()
        if process.poll() is None:
            process.kill()
            process.wait()
