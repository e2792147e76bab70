"""Hatchling's hook: the README of the distribution `authmint-service`, with links that work on a package index.

In the repository links are relative, so that they work in a clone, in a fork and at every commit. Those of the package
lead to the files at its version's tag.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")


class LinkedReadme(MetadataHookInterface):
    """Set `readme` to README.md, with absolute links below the source's address."""

    def update(self, metadata: dict[str, Any]) -> None:
        base = f"{metadata['urls']['Source']}/blob/v{metadata['version']}"
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": RELATIVE_LINK.sub(rf"]({base}/\1)", text)}
