"""What happens inside the dependency, for counters and logs. No event holds a token, a key or anything that a caller sent."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger("authmint.events")

EventName = Literal[
    "token_verified", "token_cached", "token_refused", "issuer_unavailable", "keys_fetched", "key_fetch_failed",
    "stale_keys_used", "unknown_key", "fetch_postponed",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    name: EventName
    reason: str = ""
    """For `token_refused`: one word."""
    seconds: float | None = None
    """For fetches: how long it took."""


Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """The observer of whoever does not want to know."""


def guarded(observer: Observer | None) -> Observer:
    """`observer`, whose own failures reach the log and no request."""
    if observer is None:
        return ignore

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            log.exception("the observer of the resource server failed")

    return observe
