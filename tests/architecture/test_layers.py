"""The import contracts of `.importlinter` hold, and each violation that is planted is found."""

import ast
import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.rules import outgoing_connections, reads_the_environment

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("authmint/src", "service/src", "examples/orders", "examples/billing")
SERVICE, LIBRARY = "service/src/authmint_service", "authmint/src/authmint"

PLANTED = [
    ("authmint: imports point down", f"{LIBRARY}/scopes.py", "authmint.resource_server"),
    ("authmint_service: imports point down", f"{SERVICE}/sessions/store.py", "authmint_service.endpoints.health"),
    ("authmint_service: imports point down", f"{SERVICE}/accounts/store.py", "authmint_service.tokens.issuer"),
    ("authmint_service: imports point down", f"{SERVICE}/endpoints/responses.py", "authmint_service.app"),
    ("authmint_service: imports point down", f"{SERVICE}/errors.py", "authmint_service.settings"),
    (
        "authmint_service: the packages of nouns do not know each other", f"{SERVICE}/clients/store.py",
        "authmint_service.accounts.store",
    ),
    ("authmint and the examples never need the server", "examples/orders/orders/app.py", "asyncpg"),
    ("authmint and the examples never need the server", f"{LIBRARY}/doctor.py", "authmint_service.errors"),
    ("authmint and the examples never need the server", f"{LIBRARY}/cli.py", "uvicorn"),
    ("python-jose has one owner: authmint.jose", f"{LIBRARY}/key_sets.py", "jose"),
    ("python-jose has one owner: authmint.jose", f"{SERVICE}/tokens/reader.py", "jose"),
    ("passlib has one owner: authmint_service.passwords.hasher", f"{SERVICE}/passwords/policy.py", "passlib"),
    ("asyncpg has one owner: authmint_service.database", f"{SERVICE}/accounts/account.py", "asyncpg"),
    ("asyncpg has one owner: authmint_service.database", f"{SERVICE}/tasks.py", "asyncpg"),
    ("alembic and SQLAlchemy have one owner: authmint_service.migrations", f"{SERVICE}/database.py", "sqlalchemy"),
    ("the environment has one owner: authmint_service.settings", f"{SERVICE}/logs.py", "pydantic_settings"),
    ("OpenTelemetry has one owner: authmint_service.tracing", f"{SERVICE}/database_clock.py", "opentelemetry"),
    ("an HTTP client has one owner: authmint_service.outbound", f"{SERVICE}/endpoints/health.py", "httpx2"),
    ("an HTTP client has one owner: authmint_service.outbound", f"{SERVICE}/readiness.py", "smtplib"),
    ("an HTTP client has one owner: authmint_service.outbound", f"{SERVICE}/clients/store.py", "authmint.fetching"),
    ("HTTP stays in the endpoints and the composition root", f"{SERVICE}/grants/request.py", "starlette"),
    ("HTTP stays in the endpoints and the composition root", f"{SERVICE}/accounts/store.py", "fastapi"),
]  # fmt: skip
"""The contract's name, the file that a line is added to, and what it imports."""


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def module_of(file: str) -> str:
    """Return the dotted name of a module in the repository."""
    source = next(source for source in SOURCES if file.startswith(source))
    return file.removeprefix(f"{source}/").removesuffix(".py").replace("/", ".")


def copy_sources(folder: Path) -> None:
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))


def check(folder: Path) -> str:
    """What import-linter says of the sources in `folder`."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(ROOT / ".importlinter")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / source) for source in SOURCES), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_each_planted_violation_is_found_by_its_contract(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    before = check(tmp_path)
    assert all(f"{name} KEPT" in before for name, _, _ in PLANTED), before
    for _, file, imported in PLANTED:
        with (tmp_path / file).open("a") as module:
            module.write(f"\n\nimport {imported}\n")
    after = check(tmp_path)
    assert [name for name, _, _ in PLANTED if f"{name} BROKEN" not in after] == [], after
    reported = after.partition("Broken contracts")[2]
    assert [plant for plant in PLANTED if f"{module_of(plant[1])} -> {plant[2]} (l." not in reported] == [], after


def test_every_contract_has_a_violation_that_is_planted_for_it() -> None:
    names = {values["name"] for title, values in contracts().items() if title.startswith("importlinter:contract")}
    assert names == {name for name, _, _ in PLANTED}


@pytest.mark.parametrize("place", ["service/src/authmint_service", "authmint/src/authmint"])
def test_a_module_that_no_layer_lists_is_found(place: str, tmp_path: Path) -> None:
    copy_sources(tmp_path)
    (tmp_path / place / "utilities.py").write_text('"""Nowhere in particular."""\n')
    assert "utilities" in check(tmp_path)


def test_the_packages_that_do_not_know_each_other_are_one_whole_layer() -> None:
    layers = contracts()["importlinter:contract:service-layers"]["layers"].strip().splitlines()
    siblings = contracts()["importlinter:contract:siblings"]["modules"].split()
    nouns = next(layer for layer in layers if "accounts" in layer.split())
    assert {f"authmint_service.{name.strip()}" for name in nouns.split("|")} == set(siblings)


@pytest.mark.parametrize(
    "line",
    [
        "import os; HOST = os.environ['AUTHMINT_HOST']", "from os import environ", "from os import getenv as read",
        "import os; HOST = os.getenv('AUTHMINT_HOST')", "import os; HOST = os.environb[b'AUTHMINT_HOST']",
    ],
)  # fmt: skip
def test_a_place_that_reads_the_environment_is_found(line: str) -> None:
    assert reads_the_environment(ast.parse(line))
    assert not reads_the_environment(ast.parse("import os; environment = os.getpid()"))


@pytest.mark.parametrize(
    "line",
    [
        "import urllib.request", "from urllib import request", "from urllib.request import urlopen", "import http.client",
        "from http import client", "from http.client import HTTPSConnection", "import smtplib", "import ftplib",
        "import websockets", "import httpcore2", "from pycurl import Curl",
        "import httpx", "from httpx2 import AsyncClient", "import socket; socket.create_connection(('a', 1))",
        "import asyncio; asyncio.open_connection('a', 1)",
    ],
)  # fmt: skip
def test_a_place_that_connects_to_the_outside_is_found(line: str) -> None:
    assert outgoing_connections(ast.parse(line)) != []
    harmless = "from http import HTTPStatus; from urllib.parse import urlsplit; import socket; socket.create_server(('a', 1))"
    assert outgoing_connections(ast.parse(harmless)) == []
