"""The last release beside today's code: it is found by its tag, built, and installed in an environment of its own."""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from packaging.version import InvalidVersion, Version

from tests.e2e.conftest import ROOT, create_venv, environment, uv_pip
from tools.version import versions

NO_RELEASE = "no-release-yet-so-the-same-tree-twice"
"""Stands in the names of the tests in place of a tag, so that a run says what it compared."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One version of both distributions that can be run."""

    name: str
    python: Path

    def run(self, *arguments: str, env: Mapping[str, str], cwd: Path, text: str | None = None) -> str:
        """Run `authmint-service`, and return what it wrote. Raises CalledProcessError."""
        done = subprocess.run(
            self.command(*arguments), env=dict(env), cwd=cwd, input=text, stdout=subprocess.PIPE, text=True, check=True,
            timeout=120,
        )  # fmt: skip
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python.with_name("authmint-service")), *arguments]


def last_release(tags: Iterable[str], current: str) -> str | None:
    """Return the tag of the newest release that is older than `current`; None if there is none.

    A release before 1.0 or of another form (`v1.0rc1`) is one too; a tag that names no version is none.
    """
    found = []
    for tag in tags:
        if not re.fullmatch(r"v\d\S*", tag):
            continue
        try:
            number = Version(tag.removeprefix("v"))
        except InvalidVersion:
            continue
        if not number.is_prerelease and number < Version(current):
            found.append((number, tag))
    return max(found)[1] if found else None


def previous_tag() -> str | None:
    """Return the tag of the last release in this clone."""
    listed = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return last_release(listed.split(), versions()["pyproject.toml"])


def install_release(tag: str | None, folder: Path) -> Installation:
    """Build both wheels of a tag, or of today's commit, and install them with the packages that were pinned then."""
    source, wheels = folder / "source", folder / "wheels"
    packed = subprocess.run(["git", "archive", tag or "HEAD"], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(source, filter="data")
    for project in (source, source / "authmint"):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(build, cwd=project, env=environment(), capture_output=True, check=True, timeout=120)
    python = create_venv(folder / "environment")
    pinned = ("--constraints", str(source / "constraints.txt"))
    uv_pip("install", python, *pinned, *map(os.fspath, sorted(wheels.glob("*.whl"))))
    return Installation(tag or NO_RELEASE, python)


def current_installation() -> Installation:
    """Return today's code, as it is installed for the tests."""
    return Installation("today", Path(sys.executable))
