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

MIN_VERSION = (3, 11)
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
CANDIDATES = ("python3", *tuple("python3.%d" % minor for minor in range(19, MIN_VERSION[1] - 1, -1)))


class Failure(Exception):
    """The message is one sentence for the developer."""


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
        raise Failure("%s cannot be written (%s). Set VENV to a folder that can: make run VENV=…" % (venv, error.strerror))


def make(python: str, venv: str) -> None:
    """Make the virtual environment and install into it. Raise Failure."""
    if os.path.exists(os.path.join(venv, "authmint.stamp")):
        os.unlink(os.path.join(venv, "authmint.stamp"))
    elif os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        raise Failure("%s exists and is not a virtual environment. Remove it, or set VENV to another folder." % venv)
    os.makedirs(venv, exist_ok=True)
    step("Making the virtual environment %s" % venv, [python, "-m", "venv", "--clear", venv], VENV_ADVICE)
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
    except Failure:
        installer = pip
        echo("uv could not install them. pip does it, more slowly.")
        step("Installing the pinned packages", pip + ["--require-hashes", "-r", constraints], "Is the package index reachable?")
    step("Installing authmint and authmint-service", installer + own, "", variables)


def pin_of(package: str, constraints: str) -> str:
    """Return the lines of `package` and its hashes in `constraints`."""
    found = re.search(r"^%s==.*(?:\n    .*)*" % re.escape(package), constraints, re.MULTILINE)
    if found is None:
        raise Failure("constraints.txt has no %s. Run: make lock" % package)
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


VENV_ADVICE = "On Debian the module comes with: apt-get install python3-venv"


def step(what: str, command: List[str], advice: str, variables: Optional[Dict[str, str]] = None) -> None:
    """Run `command` and show progress: the seconds so far on a terminal, one line elsewhere. Raise Failure with `advice`."""
    interactive = sys.stderr.isatty()
    started = time.time()
    echo(what + " …", end="" if interactive else "\n")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, env=variables
        )
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
