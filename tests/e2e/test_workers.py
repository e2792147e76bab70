"""Several processes below one parent: all of them serve, one that dies is replaced, and none outlives the parent."""

import asyncio
import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

import pytest

from authmint_service.endpoints.metrics import CACHE_SECONDS
from tests.e2e.conftest import ROOT, Running, environment, fetch, free_ports, running
from tests.e2e.test_commands import COMMAND, Commands
from tests.e2e.test_embedded_postgres import dsn_of, hold, is_running, release

pytestmark = [pytest.mark.process, pytest.mark.timeout(180), pytest.mark.xdist_group("workers")]


def value_in(metrics: str, series: str) -> float:
    """Return the value of a series; 0 for one that is not reported."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def count_shares(metrics: str) -> int:
    """Return how many workers report what they have served."""
    return len(re.findall(r'^authmint_worker_http_requests_total{worker="\d"} \S+$', metrics, re.MULTILINE))


class Service:
    """A parent with some workers, on its own data folder."""

    def __init__(self, process: Running, commands: Commands, internal_port: int) -> None:
        self.process, self.site, self.folder = process, f"http://127.0.0.1:{commands.port}", commands.folder
        self.internal_site = f"http://127.0.0.1:{internal_port}"

    @property
    def workers(self) -> set[int]:
        """Return the process ids of the parent's children."""
        pid = self.process.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def metrics(self) -> str:
        status, text, _ = fetch(f"{self.internal_site}/metrics")
        assert 200 == status
        return text

    def sample(self, series: str) -> float:
        """Return the value of a series; 0 for one that is not reported."""
        return value_in(self.metrics(), series)

    def wait_until_all_serve(self, count: int, *, without: AbstractSet[int] = frozenset()) -> set[int]:
        """Wait until `count` workers serve, none of which is one of `without`. Return their process ids."""
        deadline = time.monotonic() + 60
        while True:
            assert self.process.process.poll() is None, self.process.said
            workers = self.workers
            if len(workers) == count and not workers & without and self.sample("authmint_workers_ready") == count:
                return workers
            assert time.monotonic() < deadline, self.process.said
            time.sleep(0.05)


@contextmanager
def workers(folder: Path, count: int, **settings: str) -> Iterator[Service]:
    commands = Commands(folder)
    (internal_port,) = free_ports(1)
    env = commands.env | {"AUTHMINT_INTERNAL_PORT": str(internal_port)} | settings
    with running(COMMAND, "serve", "--workers", str(count), cwd=folder, env=env, output=folder / "said") as process:
        process.wait_for(f"http://127.0.0.1:{commands.port}/readyz")
        yield Service(process, commands, internal_port)


def are_gone(pids: set[int], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def request_until(stop: asyncio.Event, port: int) -> tuple[int, int]:
    """Send requests, each on a new connection. Return how many had a response, and how many were cut before it."""
    served = cut = 0
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            response = await reader.read()
            writer.close()
        except ConnectionError:
            response = b""
        served, cut = served + response.startswith(b"HTTP/1.1 200"), cut + (not response)
    return served, cut


CLIENTS = 4


def request_during(service: Service, disturb: Callable[[], object]) -> tuple[int, int]:
    """Send requests from several clients while `disturb` runs. Return how many were served, and how many cut."""

    async def run() -> tuple[int, int]:
        done, port = asyncio.Event(), int(service.site.rsplit(":", 1)[1])
        clients = [asyncio.create_task(request_until(done, port)) for _ in range(CLIENTS)]
        try:
            await asyncio.to_thread(disturb)
        finally:
            done.set()
        seen = await asyncio.gather(*clients)
        return sum(served for served, _ in seen), sum(cut for _, cut in seen)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose database another process keeps running, so that the services need not start it."""
    folder = tmp_path_factory.mktemp("workers")
    holder = hold(folder / "data")
    dsn_of(holder)
    yield folder
    release(holder)


@pytest.mark.slow
def test_all_workers_serve_each_reports_the_metrics_of_all_and_a_stop_leaves_no_process(tmp_path: Path) -> None:
    with workers(tmp_path, 3) as service:
        pids = service.wait_until_all_serve(3)
        for _ in range(60):
            assert 200 == fetch(f"{service.site}/livez")[0]
        # The sum is the same, whichever process responds.
        livez = 'authmint_http_requests_total{method="GET",route="/livez",status="200"}'
        # A response may be a second old.
        deadline = time.monotonic() + 30
        while {(60.0, 3)} != {(value_in(text, livez), count_shares(text)) for text in (service.metrics() for _ in range(10))}:
            assert time.monotonic() < deadline
        assert 0 == service.process.stop()
        assert "Traceback" not in service.process.said
    assert are_gone(pids)
    assert not is_running(tmp_path / "data")


@pytest.mark.slow
def test_a_killed_worker_is_replaced_while_requests_go_on_and_no_counter_goes_back(folder: Path) -> None:
    with workers(folder, 2) as service:
        before = service.wait_until_all_serve(2)
        livez = 'authmint_http_requests_total{method="GET",route="/livez",status="200"}'
        counted: list[float] = []

        def count() -> None:
            # Each process keeps its response for so long, and another one may have answered before.
            time.sleep(CACHE_SECONDS)
            counted.append(service.sample(livez))

        def kill_each() -> None:
            for pid in before:
                count()
                # Only a child of the process that this test has started is killed.
                assert pid in service.workers
                os.kill(pid, signal.SIGKILL)
                service.wait_until_all_serve(2, without={pid})
                count()

        served, cut = request_during(service, kill_each)
        assert service.process.said.count("worker.exited") == 2
        assert sorted(counted) == counted
        # The requests that the killed process was serving are lost, and no others.
        assert cut <= 2 * CLIENTS
        assert cut < served


@pytest.mark.slow
def test_a_rolling_restart_replaces_all_workers_and_cuts_no_request(folder: Path) -> None:
    with workers(folder, 2, AUTHMINT_DRAIN_SECONDS="1") as service:
        before = service.wait_until_all_serve(2)

        def restart() -> None:
            service.process.process.send_signal(signal.SIGHUP)
            service.process.wait_until_it_says("workers.replaced")

        served, cut = request_during(service, restart)
        assert not before & service.wait_until_all_serve(2)
        assert served
        assert 0 == cut
        # Wrong settings change nothing.
        (folder / ".env").write_text("AUTHMINT_REFRESH_GRACE_SECONDS=500\n")
        now = service.workers
        service.process.process.send_signal(signal.SIGHUP)
        service.process.wait_until_it_says("AUTHMINT_REFRESH_GRACE_SECONDS is wrong")
        (folder / ".env").unlink()
        assert now == service.workers
        assert 0 == service.process.stop()


def test_when_the_parent_is_killed_its_workers_end(folder: Path) -> None:
    with workers(folder, 2) as service:
        pids = service.wait_until_all_serve(2)
        service.process.process.kill()
        service.process.process.wait()
        assert are_gone(pids)


@pytest.mark.slow
def test_a_port_in_use_and_a_wrong_setting_are_reported_once_whatever_the_number_of_workers(folder: Path) -> None:
    commands = Commands(folder)
    with socket.create_server(("127.0.0.1", commands.port)):
        taken = commands.run("serve", "--workers", "2")
    assert (1, 1, True) == (taken.returncode, len(taken.stderr.splitlines()), taken.stderr.startswith("Port "))
    wrong = commands.run("serve", AUTHMINT_WORKERS="65")
    assert (2, True) == (wrong.returncode, wrong.stderr.startswith("AUTHMINT_WORKERS is wrong"))
    assert 0 == commands.run("keys", "list").returncode
    other = f"2:{base64.b64encode(os.urandom(32)).decode()}"
    without_key = commands.run("serve", "--workers", "3", AUTHMINT_KEY_ENCRYPTION_KEYS=other)
    assert (2, 1) == (without_key.returncode, len(without_key.stderr.splitlines())), without_key.stderr


BROKEN = """
import socket
from contextlib import asynccontextmanager
from fastapi import FastAPI
from authmint_service.draining import Draining
from authmint_service.metrics import Metrics
from authmint_service.serving.workers import Workers
from authmint_service.logs import configure_logging

@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("no")
    yield

def make_app(_):
    app = FastAPI(lifespan=lifespan)
    app.state.metrics = Metrics()
    app.state.metrics.allocate(routes=(), grants=(), rows=3)
    app.state.draining = Draining()
    return app

configure_logging("INFO", "json")
workers = Workers([socket.create_server(("127.0.0.1", 0)) for _ in range(2)], shutdown_seconds=0)
with workers.handle_signals():
    print(workers.run(make_app))
"""


@pytest.mark.slow
def test_a_service_whose_workers_die_before_any_was_ready_exits_instead_of_restarting_for_ever(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "False\n" == done.stdout, done.stderr
    assert 1 == done.stderr.count("worker.failed")
