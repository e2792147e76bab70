"""Print the bill of materials of a distribution as CycloneDX 1.6: every package that an installation of it has here.

Usage: python tools/sbom.py authmint-service. Versions and licences are read from the installed packages, which are those of
constraints.txt; extras are not part of it.
"""

import json
import sys
from importlib.metadata import Distribution, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def materials(name: str) -> dict[str, Any]:
    """Return the document for one distribution, without a time or a random number: the same inputs give the same bytes."""
    root = distribution(name)
    needed = closure(name)
    del needed[canonicalize_name(name)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(root)},
        "components": [component(one) for _, one in sorted(needed.items())],
        "dependencies": [
            {"ref": purl(one), "dependsOn": sorted(purl(distribution(line.name)) for line in requirements(one, ""))}
            for one in (root, *(one for _, one in sorted(needed.items())))
        ],
    }


def closure(name: str) -> dict[str, Distribution]:
    """Return the distribution and everything that it needs here, by their names."""
    found: dict[str, Distribution] = {}
    pending, seen = [(canonicalize_name(name), "")], set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        found[current[0]] = distribution(current[0])
        for line in requirements(found[current[0]], current[1]):
            pending += [(canonicalize_name(line.name), extra) for extra in ("", *line.extras)]
    return found


def requirements(one: Distribution, extra: str) -> list[Requirement]:
    """Return what a distribution requires on this computer, with or without an extra."""
    lines = [Requirement(line) for line in one.requires or []]
    return [line for line in lines if line.marker is None or line.marker.evaluate({"extra": extra})]


def purl(one: Distribution) -> str:
    return f"pkg:pypi/{canonicalize_name(one.metadata['Name'])}@{one.version}"


def component(one: Distribution) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "library", "bom-ref": purl(one), "name": one.metadata["Name"], "version": one.version}
    if "License-Expression" in one.metadata:
        found["licenses"] = [{"expression": one.metadata["License-Expression"]}]
    return {**found, "purl": purl(one)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(materials(sys.argv[1]), indent=2, ensure_ascii=False) + "\n")
