"""What every grant gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from authmint.errors import InvalidRequest
from authmint_service.clients import Client
from authmint_service.tokens import Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """A request for tokens, its client authenticated and allowed to use the grant."""

    client: Client
    parameters: Mapping[str, str] = field(repr=False)
    requested_scopes: frozenset[str]
    """As they were asked for; empty when none were."""
    scopes: frozenset[str]
    """Of these, those the client may have; all of the client's when none were asked for."""
    requested_audiences: tuple[str, ...]
    """The `resource` (RFC 8707), which is one of the client's audiences; empty when none was given."""
    audiences: tuple[str, ...]
    """The same, or else the client's default."""
    peer: str | None
    """The address the request comes from."""

    def required(self, name: str) -> str:
        """The parameter. Raises InvalidRequest when it is missing."""
        value = self.parameters.get(name)
        if value is None:
            raise InvalidRequest(f"The parameter {name} is missing.")
        return value


class Grant(Protocol):
    """One way to get tokens."""

    async def authorize(self, request: GrantRequest) -> Authorization:
        """Raises an OAuthError."""
