"""Print the version of both distributions. A release changes it in five places, and this fails when one of them differs.

They are both pyproject.toml, the requirement of the service for its library, the images of deploy/kubernetes.yaml, and a
heading of CHANGELOG.md. Programs read the version from the metadata of the installed package.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return the version at each place that names it; an empty text where it is missing."""
    service = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    library = tomllib.loads((root / "authmint" / "pyproject.toml").read_text())["project"]
    pins = [line.removeprefix("authmint==") for line in service["dependencies"] if line.startswith("authmint==")]
    images = re.findall(r"image: authmint-service:(\S+)", (root / "deploy" / "kubernetes.yaml").read_text())
    heading = re.search(r"^## (\d\S*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    return {
        "pyproject.toml": service["version"],
        "authmint/pyproject.toml": library["version"],
        "the requirement of authmint": " ".join(sorted(set(pins))),
        "deploy/kubernetes.yaml": " ".join(sorted(set(images))),
        "CHANGELOG.md": heading.group(1) if heading else "",
    }


def main() -> int:
    found = versions()
    if len(set(found.values())) != 1:
        sys.stderr.write("The version differs: " + ", ".join(f"{place} has {value}" for place, value in found.items()) + ".\n")
        return 1
    sys.stdout.write(f"{found['pyproject.toml']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
