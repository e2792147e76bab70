"""The events of token verification, for metrics and logs. No event holds a token, a key or anything that a caller sent."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger("authmint.events")

EventName = Literal[
    "token_verified", "token_cached", "token_refused", "issuer_unavailable", "keys_fetched", "key_fetch_failed",
    "stale_keys_used", "unknown_key", "fetch_postponed", "list_fetched", "list_fetch_failed", "list_stale", "list_fresh",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class VerificationEvent:
    """One event."""

    name: EventName
    reason: str = ""
    """The reason code, for `token_refused`."""
    seconds: float | None = None
    """The duration of a fetch, for `keys_fetched` and `key_fetch_failed`."""
    issuer: str = ""
    """The issuer's URL, for the events of its revocation list: the last four."""
    age: float | None = None
    """How old the list is, in seconds, for the same events; None before the first list."""


Observer = Callable[[VerificationEvent], None]
"""Called for every event, in the thread of a request or in the one that fetches: it must be quick and safe in threads."""


class RefusalLog:
    """Logs why tokens are refused: the first of each reason at once, then one line a minute at most, which has their number.

    A client may send as many bad tokens as it likes. The token itself stays out of the log: a reader of the log could use it.
    """

    PAUSE_SECONDS = 60.0

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._lines: dict[str, tuple[float, int]] = {}

    def add(self, reason: str) -> None:
        """Log a refused token, or count it. `reason`: a code, of which there are few."""
        now = self._clock()
        logged_at, more = self._lines.get(reason, (float("-inf"), 0))
        if 0 <= now - logged_at < self.PAUSE_SECONDS:
            self._lines[reason] = (logged_at, more + 1)
            return
        self._lines[reason] = (now, 0)
        self._log.warning("access token refused: %s%s", reason, f" ({more} more since the last such line)" if more else "")


def noop(_: VerificationEvent) -> None:
    """Do nothing: the default observer."""


def guarded(observer: Observer | None) -> Observer:
    """Return `observer` so that its own exceptions are logged and fail no request."""
    if observer is None:
        return noop

    def observe(event: VerificationEvent) -> None:
        try:
            observer(event)
        except Exception:
            log.exception("the observer of the resource server failed")

    return observe
