"""What the package index gets: licence, metadata, links that work there, one version, and a bill of materials."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.e2e.conftest import ROOT
from tools.version import versions

LINK = re.compile(r"\]\(([^)]+)\)")
FOLDERS = {"authmint": ROOT / "authmint", "authmint-service": ROOT}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    built = {}
    for name, source in FOLDERS.items():
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / name)]
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
        (built[name],) = (folder / name).glob("*.whl")
    return built


def project(name: str) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    return found


def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (path,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(path).decode())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_wheel_carries_the_whole_licence(wheels: dict[str, Path], name: str) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert 200 < len(licence.splitlines())
    with ZipFile(wheels[name]) as archive:
        (path,) = (one for one in archive.namelist() if one.endswith(".dist-info/licenses/LICENSE"))
        assert licence == archive.read(path)
    assert "Apache-2.0" == metadata(wheels[name])["License-Expression"]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_index_shows_authors_keywords_classifiers_and_addresses(wheels: dict[str, Path], name: str) -> None:
    found = metadata(wheels[name])
    assert "The Authmint authors" == found["Author"]
    assert len(found["Keywords"].split(",")) >= 5
    classifiers = set(found.get_all("Classifier", []))
    assert {"Framework :: FastAPI", "Typing :: Typed", "Programming Language :: Python :: 3.11"} <= classifiers
    named = {line.partition(", ")[0] for line in found.get_all("Project-URL", [])}
    assert {"Documentation", "Source", "Issues", "Changelog"} == named


def test_the_addresses_are_equal_in_both_distributions_and_stand_nowhere_else() -> None:
    assert project("authmint")["urls"] == project("authmint-service")["urls"]
    host = "authmint" + ".example"
    listed = subprocess.run(["git", "grep", "-l", "-F", host], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"pyproject.toml", "authmint/pyproject.toml"} == set(listed.split())


@pytest.mark.parametrize("name", FOLDERS)
def test_no_link_of_a_readme_is_relative_on_the_index(wheels: dict[str, Path], name: str) -> None:
    text = str(metadata(wheels[name]).get_payload())
    assert [] == [target for target in LINK.findall(text) if not re.match(r"https?://|#", target)]
    sources = project(name)["urls"]
    assert isinstance(sources, dict)
    for path in re.findall(rf"\]\({re.escape(sources['Source'])}/blob/v[^/]+/([^)#]+)", text):
        assert (ROOT / path).exists(), path
    if name == "authmint-service":
        assert f"{sources['Source']}/blob/v{project(name)['version']}/CONTRIBUTING.md" in text


@pytest.mark.parametrize("name", FOLDERS)
def test_the_source_distribution_builds_the_same_wheel(wheels: dict[str, Path], name: str, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=FOLDERS[name], check=True, capture_output=True, timeout=60)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / packed.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=source, check=True, capture_output=True, timeout=60)
    (again,) = tmp_path.glob("*.whl")
    with ZipFile(wheels[name]) as expected, ZipFile(again) as actual:
        assert sorted(expected.namelist()) == sorted(actual.namelist())


def test_one_version_stands_at_every_place_that_names_it_and_is_the_installed_one() -> None:
    assert {version("authmint-service")} == {version("authmint")} == set(versions().values())


def test_a_version_that_differs_at_one_place_is_found(tmp_path: Path) -> None:
    for path in ("pyproject.toml", "authmint/pyproject.toml", "deploy/kubernetes.yaml", "CHANGELOG.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    assert 1 == len(set(versions(tmp_path).values()))
    (tmp_path / "deploy/kubernetes.yaml").write_text("image: authmint-service:0.0.9\n")
    assert "0.0.9" == versions(tmp_path)["deploy/kubernetes.yaml"]
    assert 2 == len(set(versions(tmp_path).values()))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_commands_print_the_version_of_their_package(name: str) -> None:
    program = Path(sys.executable).with_name(name)
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert f"{name} {version(name)}" == done.stdout.strip()


def test_the_bill_of_materials_lists_what_an_installation_brings_and_no_tool() -> None:
    written = {}
    for name in FOLDERS:
        tool = [sys.executable, str(ROOT / "tools/sbom.py"), name]
        written[name] = json.loads(subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60).stdout)
    library, service = (
        {one["name"].lower(): one["version"] for one in written[name]["components"]}
        for name in ("authmint", "authmint-service")
    )
    assert "CycloneDX" == written["authmint"]["bomFormat"]
    assert {"fastapi", "python-jose", "cryptography", "starlette"} <= library.keys()
    assert {"asyncpg", "authmint", "uvicorn"} <= service.keys()
    assert {"asyncpg", "uvicorn", "pytest"}.isdisjoint(library)
    assert {"pytest", "ruff", "sphinx", "hatchling"}.isdisjoint(service)
    pins = (ROOT / "constraints.txt").read_text()
    for name, number in service.items():
        pin = f"{name.replace('_', '-')}=={number} "
        assert "authmint" == name or f"\n{pin}" in pins, name
    refs = {one["purl"] for one in written["authmint-service"]["components"]}
    for one in written["authmint-service"]["dependencies"]:
        assert set(one["dependsOn"]) <= refs
