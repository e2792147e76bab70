"""Clients that public generators make from the OpenAPI documents: their names, and that they compile."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from authmint_service.app import create_app
from orders.app import create_app as create_orders
from tests.service.conftest import make_settings

pytestmark = pytest.mark.clients

HERE = Path(__file__).resolve().parent
FUNCTIONS = {
    "tokens": {"issue_token", "revoke_token", "introspect_token"},
    "metadata": {"get_server_metadata", "get_jwk_set", "get_key_history", "get_revocation_list"},
    "account": {
        "get_my_account", "list_my_sessions", "revoke_my_session", "revoke_my_current_session", "revoke_my_other_sessions",
        "change_my_password",
    },
    "admin": {"list_account_sessions", "revoke_account_session", "revoke_account_sessions"},
    "health": {"get_liveness", "get_readiness"},
}  # fmt: skip
MODELS = {
    "TokenRequest", "RevocationRequest", "IntrospectionRequest", "PasswordChange", "TokenResponse", "IntrospectionResponse",
    "OAuthError", "ServerMetadata", "KeyHistory", "Liveness", "Readiness", "MyAccount", "MySession", "MySessionPage", "Session",
    "SessionPage", "ThisSession",
    "Problem",
}  # fmt: skip
GENERATOR_CONFIG = {"content_type_overrides": {"application/revocation-list+jwt": "text/plain"}}


GENERATOR = "openapi-python-client==0.29.1"
"""It needs an older ruff than constraints.txt pins, so it is installed in an environment of its own."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the generator and what generated clients import."""
    folder = tmp_path_factory.mktemp("generator") / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(folder / "bin/python"), GENERATOR], check=True)
    return folder / "bin"


def service_document() -> dict[str, Any]:
    return create_app(make_settings("postgresql://127.0.0.1/never")).openapi()


def generate_python(document: dict[str, Any], folder: Path, programs: Path) -> Path:
    """Return the package of the generated client."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.json").write_text(json.dumps(GENERATOR_CONFIG))
    program = str(programs / "openapi-python-client")
    command = [program, "generate", "--path", "openapi.json", "--meta", "none", "--config", "config.json"]
    # The generator calls ruff, which stands beside it.
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        [*command, "--output-path", "client", "--fail-on-warning"],
        cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr
    return folder / "client"


def import_all(package: Path, programs: Path) -> set[str]:
    """Import every module of the client in a process of its own, and return the names of its models."""
    code = (
        "import client, client.models, json, pkgutil\n"
        "for module in pkgutil.walk_packages(client.__path__, 'client.'): __import__(module.name)\n"
        "print(json.dumps(client.models.__all__))"
    )
    done = subprocess.run(
        [str(programs / "python"), "-c", code], cwd=package.parent, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return set(json.loads(done.stdout))


def test_a_generated_python_client_has_functions_and_models_with_these_names(programs: Path, tmp_path: Path) -> None:
    package = generate_python(service_document(), tmp_path, programs)
    for tag, functions in FUNCTIONS.items():
        assert functions == {file.stem for file in (package / "api" / tag).glob("*.py")} - {"__init__"}
    models = import_all(package, programs)
    assert models >= MODELS
    assert not [name for name in models if len(name) > 40]


def test_a_python_client_is_generated_from_the_orders_example_too(programs: Path, tmp_path: Path) -> None:
    import_all(generate_python(create_orders().openapi(), tmp_path, programs), programs)


@pytest.mark.slow
def test_generated_typescript_has_operations_and_schemas_with_these_names_and_compiles(tmp_path: Path) -> None:
    programs = HERE / "node_modules/.bin"
    assert (programs / "openapi-typescript").exists(), "Run `npm ci` in tests/clients first."
    for name, document in (("service", service_document()), ("orders", create_orders().openapi())):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
        command = [str(programs / "openapi-typescript"), f"{name}.json", "--output", f"{name}.ts"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
    operations = set(re.findall(r'"operationId": "(\w+)"', json.dumps(service_document())))
    types = [f'operations["{name}"]' for name in sorted(operations)]
    types += [f'components["schemas"]["{name}"]' for name in sorted(MODELS | {"JWKSet"})]
    lines = ['import type { components, operations } from "./service.js";']
    lines += [f"export type T{number} = {one};" for number, one in enumerate(types)]
    (tmp_path / "uses.ts").write_text("\n".join(lines))
    command = [str(programs / "tsc"), "--noEmit", "--strict", "--module", "nodenext", "uses.ts", "service.ts", "orders.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert {"issueToken", "getMyAccount"} <= operations
