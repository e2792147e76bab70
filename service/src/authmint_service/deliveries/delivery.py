"""One delivery as its handler gets it, and when it is tried again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

DELAYS = (10, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 29_840)
"""Seconds from the end of each failed attempt to the next one. They add up to a day; after the last attempt it is dead."""
MAX_ATTEMPTS = len(DELAYS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Something to be sent because of an event."""

    id: int
    kind: str
    target: str = field(repr=False)
    """What the handler needs to find the receiver. No secret."""
    attempt: int
    """1 for the first."""
    event_id: int
    event_kind: str
    subject: str | None
    """The account concerned."""
    client_id: str | None
    details: Mapping[str, object]
    """Of the event."""


DeliveryHandler = Callable[[Delivery], Awaitable[object]]
"""Sends a delivery. Raise DeliveryFailed if it must be tried again. It may be called more than once for one delivery."""


class DeliveryFailed(Exception):
    """The receiver did not take it. Operators see the text: it holds no secret, and nothing that the receiver wrote."""


def delay_after(attempt: int) -> int | None:
    """Return the seconds until the attempt after this one, which failed; None if there is none, and the delivery is dead."""
    return DELAYS[attempt - 1] if attempt <= len(DELAYS) else None
