"""The checks of the commands, each with a sentence for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `passed` is None when it could not be made, or only deserves a note."""

    name: str
    passed: bool | None
    message: str


def format_duration(seconds: float) -> str:
    """Return a duration as people say it."""
    whole = max(0, round(seconds))
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if whole >= 2 * size or whole == size:
            return f"{whole // size} {name}{'s' if whole // size != 1 else ''}"
    return f"{whole} second{'s' if whole != 1 else ''}"
