"""Who does something and where the request comes from: values that are passed down as arguments, never kept in a context."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """Where a request comes from. Nothing in it is trusted: it is recorded, and no permission depends on it."""

    request_id: str
    """The id in the logs and in the header `X-Request-ID`."""
    ip_address: str | None
    """The address of the client as this service sees it; None if the transport has none."""
    user_agent: str | None
    """The header `User-Agent`, as it was sent."""
    device: str | None = None
    """The id of a known device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who makes a change: an account, a client that acts for itself, or an operator at the command line."""

    kind: Literal["account", "client", "operator"]
    id: str
    """The subject of an account or client; the operating system's user name of an operator."""
    client_id: str | None = None
    """The client through which an account acts."""
