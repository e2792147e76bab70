"""What the commands find out: checks, each with a sentence for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it held (None: it could not be made, or only deserves a note), and a sentence."""

    name: str
    held: bool | None
    message: str


def span(seconds: float) -> str:
    """A duration as people say it."""
    whole = max(0, round(seconds))
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if whole >= 2 * size or whole == size:
            return f"{whole // size} {name}{'s' if whole // size != 1 else ''}"
    return f"{whole} second{'s' if whole != 1 else ''}"
