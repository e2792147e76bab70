"""Makes the virtual environment with everything in constraints.txt, once, and again when something it depends on changes.

Standard library only, and readable for Python 3.6: a too old Python shall get a sentence, not a syntax error.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import List, Optional, Tuple

NEEDED = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INPUTS = ("constraints.txt", "pyproject.toml", os.path.join("authmint", "pyproject.toml"))
CANDIDATES = ("python3", *tuple("python3.%d" % minor for minor in range(19, NEEDED[1] - 1, -1)))


class Trouble(Exception):
    """A sentence for the person at the terminal."""


def main() -> None:
    venv = os.path.join(ROOT, os.environ.get("VENV") or ".venv")
    stamp = os.path.join(venv, "authmint.stamp")
    wanted = fingerprint()
    if read(stamp) == wanted and os.path.exists(os.path.join(venv, "bin", "authmint-service")):
        return
    python = find_python()
    try:
        make(python, venv)
        with open(stamp, "w") as file:
            file.write(wanted)
    except OSError as error:
        raise Trouble("%s cannot be written (%s). Set VENV to a folder that can: make run VENV=…" % (venv, error.strerror))


def make(python: str, venv: str) -> None:
    if os.path.exists(os.path.join(venv, "authmint.stamp")):
        os.unlink(os.path.join(venv, "authmint.stamp"))
    elif os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Trouble("%s is there and is not a virtual environment. Remove it, or set VENV to another folder." % venv)
    os.makedirs(venv, exist_ok=True)
    step("Making the virtual environment %s" % venv, [python, "-m", "venv", "--clear", venv], VENV_TROUBLE)
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    constraints = os.path.join(ROOT, "constraints.txt")
    step("Installing the pinned packages", pip + ["--require-hashes", "-r", constraints], "Is the package index reachable?")
    own = ["--no-deps", "--no-build-isolation", "-e", os.path.join(ROOT, "authmint"), "-e", ROOT]
    step("Installing authmint and authmint-service", pip + own, "")


VENV_TROUBLE = "On Debian the module comes with: apt-get install python3-venv"


def step(what: str, command: List[str], advice: str) -> None:
    """Runs `command` and shows that it runs: a clock where somebody looks, one line where nobody does."""
    watched = sys.stderr.isatty()
    started = time.time()
    note(what + " …", end="" if watched else "\n")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT)
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if watched:
                    note("\r%s … %d s" % (what, time.time() - started), end="")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if watched:
            note("\r%s … done in %d s" % (what, time.time() - started))
        if process.returncode != 0:
            output.seek(0)
            lines = [line for line in output.read().decode("utf-8", "replace").strip().splitlines() if "notice" not in line]
            raise Trouble("%s failed: %s. %s" % (what, " ".join(lines[-3:]).strip().rstrip("."), advice))


def find_python() -> str:
    """The interpreter named by PYTHON, or the first that is new enough."""
    named = os.environ.get("PYTHON")
    if named:
        found = shutil.which(named)
        if found is None or version(found) < NEEDED:
            raise Trouble("PYTHON=%s is not Python %d.%d or later." % (named, NEEDED[0], NEEDED[1]))
        return found
    for name in CANDIDATES:
        found = shutil.which(name)
        if found and version(found) >= NEEDED:
            return found
    raise Trouble(
        "Authmint needs Python %d.%d or later; python3 here is %d.%d. "
        "Install a newer one, or name it: make run PYTHON=/path/to/python" % (NEEDED + tuple(sys.version_info[:2]))
    )


def version(python: str) -> Tuple[int, int]:
    try:
        answer = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"], stderr=subprocess.DEVNULL)
        major, minor = answer.split()
        return int(major), int(minor)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 0, 0


def fingerprint() -> str:
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((read(os.path.join(ROOT, name)) or "").encode("utf-8"))
    digest.update((os.environ.get("PYTHON") or "").encode("utf-8"))
    return digest.hexdigest()


def read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def note(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(str(trouble).strip())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
