"""Make the virtual environment with everything in constraints.txt, once, and again when something it depends on changes.

Standard library only, and readable for Python 3.6: a too old Python gets a sentence, not a syntax error. pip installs uv and
uv the rest, which takes a fifth of the CPU. Where uv does not work (another index, a proxy's certificate), pip does it all.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional, Tuple

NEEDED = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INPUTS = ("constraints.txt", "pyproject.toml", os.path.join("authmint", "pyproject.toml"))
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}
"""Settings of pip, and the variables of uv that mean the same."""
CANDIDATES = ("python3", *tuple("python3.%d" % minor for minor in range(19, NEEDED[1] - 1, -1)))


class Trouble(Exception):
    """A sentence for the person at the terminal."""


def main() -> None:
    venv = os.path.join(ROOT, os.environ.get("VENV") or ".venv")
    stamp = os.path.join(venv, "authmint.stamp")
    inputs = fingerprint()
    if read(stamp) == inputs and os.path.exists(os.path.join(venv, "bin", "authmint-service")):
        return
    python = find_python()
    try:
        make(python, venv)
        with open(stamp, "w") as file:
            file.write(inputs)
    except OSError as error:
        raise Trouble("%s cannot be written (%s). Set VENV to a folder that can: make run VENV=…" % (venv, error.strerror))


def make(python: str, venv: str) -> None:
    if os.path.exists(os.path.join(venv, "authmint.stamp")):
        os.unlink(os.path.join(venv, "authmint.stamp"))
    elif os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Trouble("%s is there and is not a virtual environment. Remove it, or set VENV to another folder." % venv)
    os.makedirs(venv, exist_ok=True)
    step("Making the virtual environment %s" % venv, [python, "-m", "venv", "--clear", venv], VENV_TROUBLE)
    with tempfile.TemporaryDirectory() as folder:
        install(venv, folder)


def install(venv: str, folder: str) -> None:
    python = os.path.join(venv, "bin", "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    uv = [os.path.join(venv, "bin", "uv"), "pip", "install", "--quiet", "--python", python]
    constraints = os.path.join(ROOT, "constraints.txt")
    own = ["--no-deps", "--no-build-isolation", "-e", os.path.join(ROOT, "authmint"), "-e", ROOT]
    pinned_uv = os.path.join(folder, "uv.txt")
    with open(pinned_uv, "w") as file:
        file.write(pin_of("uv", read(constraints) or ""))
    step("Installing uv", pip + ["--require-hashes", "-r", pinned_uv], "Is the package index reachable?")
    installer, variables = uv, uv_environment(python)
    try:
        step("Installing the pinned packages", uv + ["--require-hashes", "-r", constraints], "", variables)
    except Trouble:
        installer = pip
        note("uv could not install them. pip does it, more slowly.")
        step("Installing the pinned packages", pip + ["--require-hashes", "-r", constraints], "Is the package index reachable?")
    step("Installing authmint and authmint-service", installer + own, "", variables)


def pin_of(package: str, constraints: str) -> str:
    """Return the lines of `package` and its hashes in `constraints`."""
    found = re.search(r"^%s==.*(?:\n    .*)*" % re.escape(package), constraints, re.MULTILINE)
    if found is None:
        raise Trouble("constraints.txt has no %s. Run: make lock" % package)
    return found.group() + "\n"


def uv_environment(python: str) -> Dict[str, str]:
    """Return the variables with which uv finds packages where pip finds them: uv reads none of pip's settings.

    Variables, not arguments: the address of an index can hold a password, and every process of the computer sees arguments.
    """
    found = {"UV_SYSTEM_CERTS": "true"}
    try:
        listed = subprocess.check_output([python, "-m", "pip", "config", "list"], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        listed = b""
    for line in listed.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        name = UV_NAMES.get(key.rpartition(".")[2])
        if name is not None:
            values = value.strip("'\"").replace("\\n", " ").split()
            found[name] = ("," if name == "UV_FIND_LINKS" else " ").join(values)
    return {**found, **os.environ}


VENV_TROUBLE = "On Debian the module comes with: apt-get install python3-venv"


def step(what: str, command: List[str], advice: str, variables: Optional[Dict[str, str]] = None) -> None:
    """Run `command` and show that it runs: a clock on a terminal, one line elsewhere. Raise Trouble when it fails."""
    watched = sys.stderr.isatty()
    started = time.time()
    note(what + " …", end="" if watched else "\n")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, env=variables
        )
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
    """Return the interpreter named by PYTHON, or the first that is new enough."""
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
