"""`make test-tools`: install what the tests need and no Python package contains: a browser, Node.js, its packages, PgBouncer.

As root on Debian it installs what is missing; otherwise it prints one sentence that names it.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
NPM_FOLDERS = (TESTS / "browser", TESTS / "clients")
DEBIAN_PACKAGES = {"chromium": "chromium", "node": "nodejs", "npm": "npm", "pgbouncer": "pgbouncer"}
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
MIN_NODE_VERSION = 20


def main() -> int:
    missing = [program for program in DEBIAN_PACKAGES if shutil.which(program, path=SEARCH_PATH) is None]
    if "chromium" in missing and shutil.which(os.environ.get("AUTHMINT_TEST_CHROMIUM", "")):
        missing.remove("chromium")
    packages = [DEBIAN_PACKAGES[program] for program in missing]
    if packages and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return fail(f"The tests need {', '.join(packages)}. On Debian, as root: apt-get install {' '.join(packages)}")
    if packages and not install(packages):
        return fail(f"apt-get could not install {' '.join(packages)}.")
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
    return 0


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
    sys.exit(main())
