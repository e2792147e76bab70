"""The source of a request and the actor of a change. Both are passed down as arguments, never by a context variable."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """Where a request comes from. It is recorded, and no permission depends on it.

    A copied refresh token is recognised by it. So the address is never what the client itself wrote: see `TrustedProxies`.
    """

    request_id: str
    """The id of the request, as the logs have it."""
    ip_address: str | None
    """The address of the client as this service sees it; None if the transport has none."""
    user_agent: str | None
    """The software of the client, as the client names it."""
    device: str | None = None
    """The id of a known device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who makes a change: an account, a client that acts for itself, an operator at the command line, or the service itself."""

    kind: Literal["account", "client", "operator", "system"]
    id: str
    """The subject of an account or client; the operating system's user name of an operator; the name of a background task."""
    client_id: str | None = None
    """The client through which an account acts."""
