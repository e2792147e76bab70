"""`make lock`: write constraints.txt, with every package of both distributions and of the tests, and its hashes.

The packages of other makers in tests/clients are pinned apart: what they need is not ours. Both files hold for each supported
Python. Run it when a dependency in a pyproject.toml or in tests/clients/requirements.in changes.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# {what}, pinned with its hashes. Written by `make lock`; not edited by hand.\n"
CLIENTS = ROOT / "tests" / "clients"


def requirements() -> list[str]:
    """Return the requirements of both distributions, of their extras and of the development groups."""
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())
    library = tomllib.loads((ROOT / "authmint" / "pyproject.toml").read_text())
    found = [*library["project"]["dependencies"], *service["project"]["dependencies"]]
    for project in (library, service):
        for extra in project["project"].get("optional-dependencies", {}).values():
            found.extend(extra)
    for group in service["dependency-groups"].values():
        found.extend(group)
    return [line for line in found if not line.startswith("authmint==")]


def pinned(unpinned: Path) -> str:
    """Return the requirements in a file and all that they need, with versions and hashes."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", str(unpinned),
        *sys.argv[1:],
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        unpinned = Path(folder) / "requirements.in"
        unpinned.write_text("\n".join(requirements()) + "\n")
        ours = HEADER.format(what="Every package that Authmint installs") + pinned(unpinned)
    others = HEADER.format(what="Every package of the programs beside this file") + pinned(CLIENTS / "requirements.in")
    (ROOT / "constraints.txt").write_text(ours)
    (CLIENTS / "requirements.txt").write_text(others)
    return 0


if __name__ == "__main__":
    sys.exit(main())
