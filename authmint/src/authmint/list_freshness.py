"""Report when an issuer's revocation list becomes too old, and when it is fresh again: by an event and a line of the log."""

import logging

from authmint.checks import format_duration
from authmint.events import Observer, VerificationEvent

log = logging.getLogger("authmint.revocation_list")


class ListFreshness:
    """Whether the list of one issuer was fresh when its age was reported last."""

    def __init__(self, issuer: str, observer: Observer, *, stale_seconds: float, fails_closed: bool) -> None:
        self._issuer, self._observe, self._stale_seconds = issuer, observer, stale_seconds
        self._consequence = "no token is accepted" if fails_closed else "a revoked token may be accepted"
        self._was_fresh: bool | None = None

    def is_fresh(self, age: float | None) -> bool:
        """Return whether a list of this age (seconds; None: there is no list yet) is recent enough."""
        return age is not None and age <= self._stale_seconds

    def report(self, age: float | None, *, was_fetched: bool) -> None:
        """Report the outcome of a fetch, and the age of the list after it."""
        self._observe(VerificationEvent("list_fetched" if was_fetched else "list_fetch_failed", issuer=self._issuer, age=age))
        is_fresh = self.is_fresh(age)
        if is_fresh != self._was_fresh:
            # The first list is nothing to speak of.
            if self._was_fresh is not None or not is_fresh:
                self._report_change(age, is_fresh=is_fresh)
            self._was_fresh = is_fresh

    def _report_change(self, age: float | None, *, is_fresh: bool) -> None:
        self._observe(VerificationEvent("list_fresh" if is_fresh else "list_stale", issuer=self._issuer, age=age))
        if is_fresh:
            log.info("the revocation list of %s is fresh again", self._issuer)
        elif age is None:
            log.warning("there is no revocation list of %s yet: %s", self._issuer, self._consequence)
        else:
            log.warning("the revocation list of %s is %s old: %s", self._issuer, format_duration(age), self._consequence)
