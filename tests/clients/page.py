"""Read the page *With other clients and validators*: each row of its tables is about one program in this folder."""

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/how-to/other-clients.md"

EVERYTHING = "sign-in, refresh, client credentials, introspection, revocation"

_LINK = re.compile(r"\[([^\]]+)\]\(\.\./\.\./tests/clients/([^)]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    program: str
    """As `programs` has it."""
    tried: str
    needs: str

    @property
    def steps(self) -> set[str]:
        """The steps that were tried, with the names that programs report: `client_credentials`."""
        return {re.sub(r"\W", "_", step.strip()) for step in self.tried.replace("everything", EVERYTHING).split(",")}

    @property
    def settings(self) -> list[str]:
        """What is code in the last column. It stands in the program, to the character."""
        return _CODE.findall(self.needs)

    @property
    def reasons(self) -> list[str]:
        """What is code in the second column of a package that does not work: it is in the error."""
        return _CODE.findall(self.tried)


def programs(kind: str) -> list[str]:
    """Return the programs whose names begin with `kind`: `python/with_curl.py`."""
    files = [*HERE.glob(f"python/{kind}_*.py"), *HERE.glob(f"node/{kind}_*.mjs")]
    return sorted(str(file.relative_to(HERE)) for file in files)


def read_rows() -> dict[str, Row]:
    """Return the rows by their programs. A row that goes on in the next line has an empty first cell there."""
    rows: list[list[str]] = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if found := _LINK.fullmatch(cells[0]):
            rows.append([found[2], *cells[1:]])
        elif line.startswith("| | "):
            rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells, strict=True)]
    found_rows = [Row(*row) for row in rows]
    assert len(found_rows) == len({row.program for row in found_rows})
    return {row.program: row for row in found_rows}
