"""The import contracts of `.importlinter` hold, and each finds a violation that is planted for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("authmint/src", "service/src", "examples/orders", "examples/billing")

PLANTED = {
    "authmint: imports point down": ("authmint/src/authmint/scopes.py", "from authmint import resource_server"),
    "authmint_service: imports point down": (
        "service/src/authmint_service/sessions/store.py", "from authmint_service.endpoints import health",
    ),
    "authmint_service: the packages of nouns do not know each other": (
        "service/src/authmint_service/clients/store.py", "from authmint_service.accounts import AccountStore",
    ),
    "authmint and the examples never need the server": ("examples/orders/orders/app.py", "import asyncpg"),
    "python-jose has one owner: authmint.jose": ("authmint/src/authmint/key_sets.py", "import jose"),
    "passlib has one owner: authmint_service.passwords.hasher": (
        "service/src/authmint_service/passwords/policy.py", "import passlib",
    ),
    "asyncpg has one owner: authmint_service.database": ("service/src/authmint_service/accounts/store.py", "import asyncpg"),
    "the service sends no HTTP request of its own": ("service/src/authmint_service/endpoints/health.py", "import httpx2"),
    "HTTP stays in the endpoints and the composition root": (
        "service/src/authmint_service/grants/request.py", "from starlette.requests import Request",
    ),
}  # fmt: skip
"""By the contract's name: the file that a line is added to, and the line."""


def check(folder: Path) -> str:
    """What import-linter says of the sources in `folder`."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(ROOT / ".importlinter")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / source) for source in SOURCES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_each_contract_finds_the_violation_that_is_planted_for_it(tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    before = check(tmp_path)
    assert all(f"{name} KEPT" in before for name in PLANTED), before
    for file, line in PLANTED.values():
        with (tmp_path / file).open("a") as module:
            module.write(f"\n\n{line}\n")
    after = check(tmp_path)
    assert [name for name in PLANTED if f"{name} BROKEN" not in after] == [], after


def test_a_module_that_no_layer_lists_is_found(tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "service/src/authmint_service/utilities.py").write_text('"""Nowhere in particular."""\n')
    assert "utilities" in check(tmp_path)
