"""Asks a list of breached passwords, without telling it the password (k-anonymity).

It is the range API of Have I Been Pwned, or a mirror of it: the request has the first five hexadecimal digits of the SHA-1
of the password, which some 2,000 of the list share, and the response has the rest of each. Padding hides their number from
an observer of the network. A list that does not answer never prevents a new password: that is logged and counted.
"""

import hashlib
from collections.abc import Callable
from enum import StrEnum

import structlog

from authmint_service.outbound import Outbound, OutboundError, OutboundResponse

PREFIX_DIGITS = 5
DEADLINE_SECONDS = 2.0
MAX_BYTES = 512 * 1024
"""Of a response: a padded one has some 80 KB."""

log = structlog.get_logger(__name__)


class BreachOutcome(StrEnum):
    """What came of a question."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"


class BreachList:
    """Whether passwords are in the list at a URL."""

    def __init__(self, url: str, outbound: Outbound, count: Callable[[BreachOutcome], None] | None = None) -> None:
        """`url`: of the range API, without the digits; `count` is told each outcome."""
        self._url, self._outbound, self._count = url.rstrip("/"), outbound, count

    async def has(self, prepared: str) -> bool:
        """Return whether a prepared password is in the list. False if the list does not answer within two seconds."""
        # The list is made of SHA-1; nothing here depends on its strength.
        digest = hashlib.sha1(prepared.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            response = await self._outbound.request(
                "GET", f"{self._url}/{digest[:PREFIX_DIGITS]}", headers={"Add-Padding": "true"},
                seconds=DEADLINE_SECONDS, max_bytes=MAX_BYTES,
            )  # fmt: skip
            found = _lists(response, digest[PREFIX_DIGITS:])
        except OutboundError as error:
            log.warning("password.breach_list_unavailable", reason=str(error))
            self._record(BreachOutcome.UNAVAILABLE)
            return False
        self._record(BreachOutcome.FOUND if found else BreachOutcome.NOT_FOUND)
        return found

    def _record(self, outcome: BreachOutcome) -> None:
        if self._count is not None:
            self._count(outcome)


def _lists(response: OutboundResponse, suffix: str) -> bool:
    """Return whether a response has a suffix. Raise OutboundError if it is no list."""
    if response.status != 200:
        raise OutboundError(f"status {response.status}")
    lines = response.content.decode("ascii", errors="replace").upper().split()
    counts = dict(line.partition(":")[::2] for line in lines)
    if not counts or not all(count.isdecimal() for count in counts.values()):
        raise OutboundError("the response is not a list of suffixes and counts")
    # Padding has the count 0.
    return int(counts.get(suffix, "0")) > 0
