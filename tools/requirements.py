"""Print the part of constraints.txt that some distributions need, with hashes, as they are installed here.

Usage: python tools/requirements.py authmint-service. It is for installations without the tests, such as images.
"""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
OURS = {"authmint", "authmint-service"}


def closure(names: list[str]) -> set[str]:
    """Return the names of distributions and of everything that they need here."""
    seen: set[tuple[str, str]] = set()
    pending = [(canonicalize_name(name), "") for name in names]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for line in distribution(current[0]).requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": current[1]}):
                pending += [(canonicalize_name(needed.name), extra) for extra in ("", *needed.extras)]
    return {name for name, _ in seen}


def pinned(names: set[str]) -> str:
    """Return the entries of constraints.txt for these names."""
    entries = re.split(r"\n(?=[a-z0-9])", CONSTRAINTS.read_text())
    chosen = [entry for entry in entries if canonicalize_name(re.split(r"[=\s]", entry)[0]) in names]
    return "\n".join(chosen) + "\n"


if __name__ == "__main__":
    sys.stdout.write(pinned(closure(sys.argv[1:]) - OURS))
