"""`make run` in a fresh clone with an empty home folder: the main flow from end to end, and failures in one sentence."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Running, environment, fetch, free_ports, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(600), pytest.mark.xdist_group("make run")]


class Clone:
    """A fresh clone, with an empty home folder and its own ports for `make run`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "clone", folder / "home"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.folder)], check=True, timeout=60)
        self.home.mkdir()
        self.port, self.orders_port, self.billing_port, self.spa_port = free_ports(4)
        self.output = folder / "said"
        cache = subprocess.run(
            [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False
        ).stdout
        # Of this computer only the interpreter that runs the tests is used, and pip's cache, to spare the package index.
        self.env = environment(
            HOME=str(self.home), PYTHON=sys.executable, AUTHMINT_PORT=str(self.port), ORDERS_PORT=str(self.orders_port),
            BILLING_PORT=str(self.billing_port), SPA_PORT=str(self.spa_port),
            PIP_CACHE_DIR=cache.strip(),
        )  # fmt: skip
        self.env.pop("VENV", None)
        self.env.pop("VIRTUAL_ENV", None)

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def orders(self) -> str:
        return f"http://127.0.0.1:{self.orders_port}"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.spa_port}"

    @property
    def credentials(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / ".authmint/demo.env").read_text().splitlines())

    def token(self, **form: str) -> tuple[int, dict[str, str]]:
        status, body, _ = fetch(f"{self.service}/token", data=form)
        return status, json.loads(body)

    def sign_in(self, **more: str) -> tuple[int, dict[str, str]]:
        values = self.credentials
        return self.token(
            grant_type="password", client_id=values["DEMO_SPA_CLIENT_ID"], username=values["DEMO_USERNAME"],
            password=values["DEMO_PASSWORD"], **more,
        )  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


class Starter:
    """Starts `make run` when a test needs it and the one before has ended: a start costs ten seconds of CPU."""

    def __init__(self, clone: Clone, stack: ExitStack) -> None:
        self._clone, self._stack = clone, stack
        self._current: Running | None = None

    def __call__(self) -> Running:
        if self._current is None or self._current.process.poll() is not None:
            started = running("make", "run", cwd=self._clone.folder, env=self._clone.env, output=self._clone.output)
            self._current = self._stack.enter_context(started)
            self._current.wait_until_it_says("Running.", 400)
        return self._current

    def stop(self) -> None:
        if self._current is not None:
            self._current.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def start(clone: Clone) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(clone, stack)


@pytest.fixture
def demo(start: Starter) -> Running:
    return start()


def processes_of(folder: Path) -> list[str]:
    """Return the commands of all processes whose working directory is in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink().is_relative_to(folder):
                found.append((link.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_the_main_flow_runs_from_a_fresh_clone_and_again_after_a_stop(clone: Clone, demo: Running, start: Starter) -> None:
    assert 200 == fetch(f"{clone.service}/readyz")[0]
    values = clone.credentials
    assert clone.page in demo.said
    assert f"demo-page-{clone.spa_port}" in fetch(f"{clone.page}/config.js")[1]
    for name in ("demo.env", "orders.env"):
        assert 0o600 == stat.S_IMODE((clone.folder / ".authmint" / name).stat().st_mode)
    status, first = clone.sign_in()
    assert 200 == status
    as_user = {"Authorization": f"Bearer {first['access_token']}"}
    assert (200, "[]") == fetch(f"{clone.orders}/orders", headers=as_user)[:2]
    refresh = {
        "grant_type": "refresh_token",
        "client_id": values["DEMO_SPA_CLIENT_ID"],
        "refresh_token": first["refresh_token"],
    }
    (status, second), (again, retried) = clone.token(**refresh), clone.token(**refresh)
    assert (200, 200) == (status, again)
    assert second["refresh_token"] == retried["refresh_token"] != first["refresh_token"]
    status, service = clone.token(
        grant_type="client_credentials", client_id=values["DEMO_SERVICE_CLIENT_ID"],
        client_secret=values["DEMO_SERVICE_CLIENT_SECRET"], scope="orders:read",
    )  # fmt: skip
    assert 200 == status
    headers = {"Authorization": f"Bearer {service['access_token']}", "Content-Type": "application/json"}
    status, _, received = fetch(f"{clone.orders}/orders", data={}, headers=headers)
    assert 403 == status
    assert 'scope="orders:write"' in {name.lower(): value for name, value in received.items()}["www-authenticate"]
    keys = fetch(f"{clone.service}/.well-known/jwks.json")[1]

    assert demo.stop(signal.SIGTERM) in {0, 143, -signal.SIGTERM}
    assert [] == processes_of(clone.folder)
    start()
    assert values == clone.credentials
    assert keys == fetch(f"{clone.service}/.well-known/jwks.json")[1]
    refresh["refresh_token"] = second["refresh_token"]
    assert 200 == clone.token(**refresh)[0]
    assert 200 == fetch(f"{clone.orders}/orders", headers=as_user)[0]


def test_the_lines_that_are_printed_work_when_pasted(clone: Clone, demo: Running) -> None:
    lines = demo.said.split("paste these into another terminal:")[1].split("Running.")[0]
    done = subprocess.run(["bash", "-ec", lines], capture_output=True, text=True, cwd="/", timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count('"access_token"')
    assert "[]" in done.stdout


def test_orders_still_responds_while_the_token_service_is_stopped(clone: Clone, demo: Running) -> None:
    _, tokens = clone.sign_in()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert 200 == fetch(f"{clone.orders}/orders", headers=headers)[0]
    (server,) = (int(pid.parent.name) for pid in Path("/proc").glob("[0-9]*/cmdline") if is_server(pid, clone))
    os.kill(server, signal.SIGSTOP)
    try:
        assert 200 == fetch(f"{clone.orders}/orders", headers=headers)[0]
    finally:
        os.kill(server, signal.SIGCONT)


def test_orders_calls_billing_in_its_own_name_which_a_person_cannot(clone: Clone, demo: Running) -> None:
    import urllib.request

    _, tokens = clone.sign_in()

    def order() -> dict[str, object]:
        request = urllib.request.Request(
            f"{clone.orders}/orders",
            data=b'{"item": "tea"}',
            headers={"Authorization": f"Bearer {tokens['access_token']}", "Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=15) as response:
            placed: dict[str, object] = json.load(response)
        return placed

    first, second = order(), order()
    assert (1, 2) == (first["invoice"], second["invoice"])
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Content-Type": "application/json"}
    assert 401 == fetch(f"http://127.0.0.1:{clone.billing_port}/invoices", data={}, headers=headers)[0]


def is_server(cmdline: Path, clone: Clone) -> bool:
    try:
        return str(clone.folder).encode() in (text := cmdline.read_bytes()) and b"authmint-service\0dev" in text
    except OSError:
        return False


@pytest.mark.slow
def test_ctrl_c_stops_everything(clone: Clone, demo: Running) -> None:
    # A terminal sends it to the whole group.
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.process.wait(40)
    assert [] == processes_of(clone.folder)
    assert "Stopped." in demo.said
    assert "Traceback" not in demo.said


@pytest.mark.slow
def test_when_a_process_dies_the_others_stop_too_and_the_reason_is_printed(clone: Clone, demo: Running, start: Starter) -> None:
    (server,) = (int(pid.parent.name) for pid in Path("/proc").glob("[0-9]*/cmdline") if is_server(pid, clone))
    os.kill(server, signal.SIGKILL)
    assert 0 != demo.process.wait(40)
    assert "the token service has ended" in demo.said
    assert "Traceback" not in demo.said
    # PostgreSQL outlives a killed service, by design; the next start finds it, and stops it at its own end.
    start()
    assert 200 == clone.sign_in()[0]
    start.stop()
    assert [] == processes_of(clone.folder)


def last_line(clone: Clone, **changes: str) -> tuple[int, str]:
    done = subprocess.run(
        ["make", "run"], cwd=clone.folder, env=clone.env | changes, capture_output=True, text=True, timeout=400, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    return done.returncode, lines[-1] if lines else ""


@pytest.mark.parametrize("which", ["port", "orders_port", "billing_port"])
def test_a_taken_port_is_one_sentence(clone: Clone, which: str) -> None:
    port = getattr(clone, which)
    with socket.create_server(("127.0.0.1", port)):
        status, message = last_line(clone)
    assert 0 != status
    assert message.startswith(f"Port {port} cannot be used")


def test_a_folder_that_cannot_be_written_is_one_sentence(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    status, message = last_line(clone, AUTHMINT_DATA_DIR=str(tmp_path / "file" / "data"))
    assert 0 != status
    assert message.startswith(f"The folder {tmp_path / 'file' / 'data'} cannot be written")
    status, message = last_line(clone, VENV=str(tmp_path / "file" / "venv"))
    assert 0 != status
    assert "cannot be written" in message


def test_a_python_that_is_too_old_is_one_sentence(clone: Clone, tmp_path: Path) -> None:
    """Every interpreter that can be found is replaced by a program that prints the version 3.6."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\ncase "$1" in -c) echo 3 6;; *) exec {sys.executable} "$@";; esac\n'
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 20))):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    for tool in ("make", "sh", "git", "sed"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    status, message = last_line(clone, PATH=str(folder), PYTHON="", VENV=str(tmp_path / "venv"))
    assert 0 != status
    assert message.startswith("Authmint needs Python 3.11 or later")
    status, message = last_line(clone, PYTHON=str(folder / "python3"), VENV=str(tmp_path / "venv"))
    assert 0 != status
    assert "is not Python 3.11 or later" in message


def test_make_help_lists_the_targets(clone: Clone) -> None:
    done = subprocess.run(["make"], cwd=clone.folder, env=clone.env, capture_output=True, text=True, timeout=60, check=True)
    for target in ("run", "test", "lint", "types", "format", "lock", "clean"):
        assert f"make {target}" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.slow
def test_an_ordinary_user_can_run_it_too(clone: Clone, tmp_path: Path) -> None:
    """The same clone, owned by `nobody`, whose home is empty."""
    base = Path("/var/tmp") / f"authmint-test-{os.getpid()}-{clone.port}"
    try:
        shutil.copytree(clone.folder, base / "clone", ignore=shutil.ignore_patterns(".authmint", ".venv*"), symlinks=True)
        (base / "home").mkdir()
        for path in [base, *base.rglob("*")]:
            os.chown(path, 65534, 65534, follow_symlinks=False)
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        env = clone.env | {
            "HOME": str(base / "home"),
            "PYTHON": find_python_for_all(),
            "PIP_CACHE_DIR": str(base / "home" / "cache"),
        }
        with running(*become, "make", "run", cwd=base / "clone", env=env, output=clone.output) as process:
            process.wait_until_it_says("Running.", 400)
            assert 200 == fetch(f"{clone.service}/readyz")[0]
            assert 65534 == (base / "clone/.authmint/demo.env").stat().st_uid
        assert [] == processes_of(base / "clone")
    finally:
        shutil.rmtree(base, ignore_errors=True)


def find_python_for_all() -> str:
    """Return an interpreter that the system user `nobody` may run, and that has a venv module."""
    for candidate in (os.path.realpath(sys.executable), *(f"/usr/bin/python3.{minor}" for minor in range(19, 10, -1))):
        # Through a shell: setpriv itself would still search the path as root.
        command = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sh",
            "-c",
            'exec "$0" -c "import ensurepip"',
            candidate,
        ]
        done = subprocess.run(command, capture_output=True, check=False, cwd="/")
        if done.returncode == 0:
            return candidate
    pytest.fail("No Python 3.11 with venv that an ordinary user may run: apt-get install python3 python3-venv")
