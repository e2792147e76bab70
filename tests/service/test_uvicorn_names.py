"""A version of uvicorn without a name that the service uses is found at the start, and the name is in the error."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from authmint_service import uvicorn_names
from authmint_service.errors import DependencyError
from authmint_service.uvicorn_names import NAMES, check_uvicorn

ROOT = Path(__file__).resolve().parents[2]
USED = [(module, owner, name) for (module, owner), names in NAMES.items() for name in names]


def test_this_version_has_every_name() -> None:
    check_uvicorn()


@pytest.mark.parametrize(("module", "owner", "name"), USED)
def test_each_name_that_is_gone_is_named(module: str, owner: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder: Any = getattr(import_module(module), owner) if owner else import_module(module)
    if hasattr(holder, name):
        monkeypatch.delattr(holder, name)
    else:
        # It is set by a method, or an argument: as in a version whose class has another constructor and other methods.
        monkeypatch.setattr(import_module(module), owner, type(owner, (), {"__init__": lambda self: None}))
    with pytest.raises(DependencyError, match="does not fit") as raised:
        check_uvicorn()
    assert f"{owner or module}.{name}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_module_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {("uvicorn.protocols.http.gone", "HttpToolsProtocol"): ("shutdown",)}
    monkeypatch.setattr(uvicorn_names, "NAMES", gone)
    with pytest.raises(DependencyError, match=r"uvicorn\.protocols\.http\.gone is not there"):
        check_uvicorn()


@pytest.mark.process
def test_the_service_does_not_start_without_one(tmp_path: Path) -> None:
    program = (
        "import sys; from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as P; del P.send_400_response;"
        "from authmint_service.cli import main; main(['serve'])"
    )
    env = {"AUTHMINT_ENVIRONMENT": "development", "AUTHMINT_DATA_DIR": str(tmp_path / "data"), "AUTHMINT_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert 1 == done.returncode, done.stderr
    assert "HttpToolsProtocol.send_400_response is not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_uvicorn_has_an_upper_bound_and_the_pinned_version_is_below_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (uvicorn,) = (one for one in map(Requirement, project["dependencies"]) if one.name == "uvicorn")
    assert {">=", "<"} == {bound.operator for bound in uvicorn.specifier}
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("uvicorn=="))
    assert uvicorn.specifier.contains(pinned.removeprefix("uvicorn==").split()[0])
