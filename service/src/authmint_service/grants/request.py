"""The request that a grant receives, and the protocol of a grant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from authmint.errors import InvalidRequest
from authmint_service.clients import Client
from authmint_service.request_source import RequestSource
from authmint_service.tokens import Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """A token request whose client is authenticated and may use the grant."""

    client: Client
    parameters: Mapping[str, str] = field(repr=False)
    requested_scopes: frozenset[str]
    """The requested scopes; empty if the request has none."""
    scopes: frozenset[str]
    """The requested scopes that the client may have; without a request, all scopes of the client."""
    requested_audiences: tuple[str, ...]
    """The requested `resource` (RFC 8707), one of the client's audiences; empty if the request has none."""
    audiences: tuple[str, ...]
    """The requested audiences, or else the client's default ones."""
    source: RequestSource

    def required(self, name: str) -> str:
        """Return the value of a parameter. Raise InvalidRequest if it is missing."""
        value = self.parameters.get(name)
        if value is None:
            raise InvalidRequest(f"The parameter {name} is missing.")
        return value


@dataclass(frozen=True, slots=True)
class GrantParameter:
    """A parameter of the token request that a grant has beyond those that all grants share."""

    name: str
    description: str
    secret: bool = False
    """Whether forms hide it."""
    repeatable: bool = False
    required: bool = True


class Grant(Protocol):
    """One way to get tokens. A grant describes itself; the registry lists all of them."""

    @property
    def name(self) -> str:
        """The value of `grant_type`."""

    @property
    def parameters(self) -> tuple[GrantParameter, ...]:
        """Its own parameters. `scope` and `resource` belong to every grant."""

    @property
    def interactive(self) -> bool:
        """Whether it authenticates a person."""

    @property
    def confidential_only(self) -> bool:
        """Whether it is for confidential clients alone."""

    async def authorize(self, request: GrantRequest) -> Authorization:
        """Return what the client is authorized to do. Raise an OAuthError."""
