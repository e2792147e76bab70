"""`make venv`: make the virtual environment with all of constraints.txt, and make it again when one of its inputs changes.

Standard library only, and valid in Python 3.6: a Python that is too old gets a sentence, not a syntax error.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import List, Optional, Tuple

MIN_VERSION = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INPUTS = ("constraints.txt", "pyproject.toml", os.path.join("authmint", "pyproject.toml"))
CANDIDATES = ("python3", *tuple("python3.%d" % minor for minor in range(19, MIN_VERSION[1] - 1, -1)))


class Failure(Exception):
    """The message is one sentence for the developer."""


def main() -> None:
    venv = os.path.join(ROOT, os.environ.get("VENV") or ".venv")
    stamp = os.path.join(venv, "authmint.stamp")
    current = fingerprint()
    if read(stamp) == current and os.path.exists(os.path.join(venv, "bin", "authmint-service")):
        return
    python = find_python()
    try:
        make(python, venv)
        with open(stamp, "w") as file:
            file.write(current)
    except OSError as error:
        raise Failure("%s cannot be written (%s). Set VENV to a folder that can: make run VENV=…" % (venv, error.strerror))


def make(python: str, venv: str) -> None:
    """Make the virtual environment and install into it. Raise Failure."""
    if os.path.exists(os.path.join(venv, "authmint.stamp")):
        os.unlink(os.path.join(venv, "authmint.stamp"))
    elif os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Failure("%s exists and is not a virtual environment. Remove it, or set VENV to another folder." % venv)
    os.makedirs(venv, exist_ok=True)
    step("Making the virtual environment %s" % venv, [python, "-m", "venv", "--clear", venv], VENV_ADVICE)
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    constraints = os.path.join(ROOT, "constraints.txt")
    step("Installing the pinned packages", pip + ["--require-hashes", "-r", constraints], "Is the package index reachable?")
    own = ["--no-deps", "--no-build-isolation", "-e", os.path.join(ROOT, "authmint"), "-e", ROOT]
    step("Installing authmint and authmint-service", pip + own, "")


VENV_ADVICE = "On Debian the module comes with: apt-get install python3-venv"


def step(what: str, command: List[str], advice: str) -> None:
    """Run `command` and show progress: the seconds so far on a terminal, one line elsewhere. Raise Failure with `advice`."""
    interactive = sys.stderr.isatty()
    started = time.time()
    echo(what + " …", end="" if interactive else "\n")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT)
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if interactive:
                    echo("\r%s … %d s" % (what, time.time() - started), end="")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if interactive:
            echo("\r%s … done in %d s" % (what, time.time() - started))
        if process.returncode != 0:
            output.seek(0)
            lines = [line for line in output.read().decode("utf-8", "replace").strip().splitlines() if "notice" not in line]
            raise Failure("%s failed: %s. %s" % (what, " ".join(lines[-3:]).strip().rstrip("."), advice))


def find_python() -> str:
    """Return the interpreter that PYTHON names, or the first that is new enough. Raise Failure."""
    named = os.environ.get("PYTHON")
    if named:
        found = shutil.which(named)
        if found is None or version(found) < MIN_VERSION:
            raise Failure("PYTHON=%s is not Python %d.%d or later." % (named, MIN_VERSION[0], MIN_VERSION[1]))
        return found
    for name in CANDIDATES:
        found = shutil.which(name)
        if found and version(found) >= MIN_VERSION:
            return found
    raise Failure(
        "Authmint needs Python %d.%d or later; python3 here is %d.%d. "
        "Install a newer one, or name it: make run PYTHON=/path/to/python" % (MIN_VERSION + tuple(sys.version_info[:2]))
    )


def version(python: str) -> Tuple[int, int]:
    """Return the version of an interpreter, or (0, 0) if it cannot be run."""
    try:
        output = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"], stderr=subprocess.DEVNULL)
        major, minor = output.split()
        return int(major), int(minor)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 0, 0


def fingerprint() -> str:
    """Return a hash of all inputs of the virtual environment."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((read(os.path.join(ROOT, name)) or "").encode("utf-8"))
    digest.update((os.environ.get("PYTHON") or "").encode("utf-8"))
    return digest.hexdigest()


def read(path: str) -> Optional[str]:
    """Return the text of a file, or None if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def echo(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(str(failure).strip())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
