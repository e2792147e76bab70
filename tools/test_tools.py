"""`make test-tools`: install what the tests need beside our environment: a browser, Node.js, its packages, PgBouncer, curl.

The Python packages of other makers that tests/clients tries get an environment of their own: what they need never enters ours.
`python -m tools.test_tools curl pgbouncer` installs these programs and nothing else.
As root on Debian it installs what is missing; otherwise it prints one sentence that names it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tools.venv import uv_environment

TESTS = Path(__file__).resolve().parent.parent / "tests"
NPM_FOLDERS = (TESTS / "browser", TESTS / "clients")
CLIENTS = TESTS / "clients"
DEBIAN_PACKAGES = {"chromium": "chromium", "curl": "curl", "node": "nodejs", "npm": "npm", "pgbouncer": "pgbouncer"}
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
MIN_NODE_VERSION = 20


def main(*only: str) -> int:
    missing = [program for program in only or DEBIAN_PACKAGES if shutil.which(program, path=SEARCH_PATH) is None]
    if "chromium" in missing and shutil.which(os.environ.get("AUTHMINT_TEST_CHROMIUM", "")):
        missing.remove("chromium")
    packages = [DEBIAN_PACKAGES[program] for program in missing]
    if packages and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return fail(f"The tests need {', '.join(packages)}. On Debian, as root: apt-get install {' '.join(packages)}")
    if packages and not install(packages):
        return fail(f"apt-get could not install {' '.join(packages)}.")
    return 0 if only else install_packages()


def install_packages() -> int:
    """Install the packages of Node.js and of Python. Return the exit code."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < MIN_NODE_VERSION:
        return fail(f"The browser tests need Node.js {MIN_NODE_VERSION} or later; this is {version}.")
    for folder in NPM_FOLDERS:
        if installed(folder) == pinned(folder):
            continue
        echo(f"Installing the packages of tests/{folder.name} …")
        done = subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=False)
        if done.returncode != 0:
            return fail(f"npm could not install the packages of tests/{folder.name}. Is the npm registry reachable?")
    if not install_python_clients(CLIENTS / "requirements.txt", CLIENTS / ".venv"):
        return fail("uv could not install the Python packages of tests/clients. Is the package index reachable?")
    return 0


def install_python_clients(requirements: Path, venv: Path) -> bool:
    """Make the environment of tests/clients, if it is not what is pinned, and return whether it is now."""
    stamp = venv / "authmint.stamp"
    expected = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == expected:
        return True
    echo("Installing the Python packages of tests/clients …")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    for arguments in (
        ["venv", "--clear", "--no-project", "--python", sys.executable, str(venv)],
        ["pip", "install", "--require-hashes", "--python", str(venv / "bin/python"), "-r", str(requirements)],
    ):
        if subprocess.run([*uv, *arguments], env=uv_environment(sys.executable), check=False).returncode != 0:
            return False
    stamp.write_text(expected)
    return True


def install(packages: list[str]) -> bool:
    """Install Debian packages, and return whether it worked."""
    echo(f"Installing {', '.join(packages)} …")
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run([*quiet, *arguments], env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return False
    return True


def pinned(folder: Path) -> dict[str, str]:
    """Return each package with the version in the lock file."""
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    return {path: package["version"] for path, package in packages.items() if path}


def installed(folder: Path) -> dict[str, str]:
    """Return those of them that are installed, with their versions."""
    found = {}
    for path in pinned(folder):
        with suppress(OSError, ValueError, KeyError):
            found[path] = str(json.loads((folder / path / "package.json").read_text())["version"])
    return found


def echo(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def fail(message: str) -> int:
    """Print a sentence, and return the exit code."""
    echo(message)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
