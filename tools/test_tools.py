"""Sees to it that the tests have what no Python package brings: a browser, Node.js and its packages, and PgBouncer.

As root on Debian it installs what is missing; otherwise it says in one sentence what is.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "tests" / "browser"
DEBIAN_PACKAGES = {"chromium": "chromium", "node": "nodejs", "npm": "npm", "pgbouncer": "pgbouncer"}
PLACES = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
OLDEST_NODE = 20


def main() -> int:
    missing = [program for program in DEBIAN_PACKAGES if shutil.which(program, path=PLACES) is None]
    if "chromium" in missing and shutil.which(os.environ.get("AUTHMINT_TEST_CHROMIUM", "")):
        missing.remove("chromium")
    packages = [DEBIAN_PACKAGES[program] for program in missing]
    if packages and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        return complain(f"The tests need {', '.join(packages)}. On Debian, as root: apt-get install {' '.join(packages)}")
    if packages and not install(packages):
        return complain(f"apt-get could not install {' '.join(packages)}.")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        return complain(f"The browser tests need Node.js {OLDEST_NODE} or later; this is {version}.")
    if installed() != pinned():
        echo("Installing the packages of the browser tests …")
        done = subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HERE, check=False)
        if done.returncode != 0:
            return complain("npm could not install the packages of tests/browser. Is the npm registry reachable?")
    return 0


def install(packages: list[str]) -> bool:
    echo(f"Installing {', '.join(packages)} …")
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run([*quiet, *arguments], env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return False
    return True


def pinned() -> dict[str, str]:
    """Each package, and the version that the lock file names."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    return {path: package["version"] for path, package in packages.items() if path}


def installed() -> dict[str, str]:
    """Those of them that are there, and in which version."""
    found = {}
    for path in pinned():
        with suppress(OSError, ValueError, KeyError):
            found[path] = str(json.loads((HERE / path / "package.json").read_text())["version"])
    return found


def echo(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def complain(message: str) -> int:
    echo(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
