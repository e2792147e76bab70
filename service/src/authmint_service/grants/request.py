"""The request that a grant receives."""

from collections.abc import Mapping
from dataclasses import field

from authmint.errors import InvalidRequest
from authmint.values import value_type
from authmint_service.clients import Client
from authmint_service.request_source import RequestSource


@value_type(kw_only=True)
class GrantRequest:
    """A token request whose client is authenticated and may use the grant."""

    client: Client
    parameters: Mapping[str, str] = field(repr=False)
    """The parameters by name; of a repeatable one, the first value."""
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """All values of the repeatable parameters."""
    requested_scopes: frozenset[str]
    """The requested scopes; empty if the request has none."""
    scopes: frozenset[str]
    """What the token may have: the requested scopes that the client may have; without a request, all of the client's."""
    requested_audiences: tuple[str, ...]
    """The requested `resource` (RFC 8707), one of the client's audiences or the issuer; empty if the request has none."""
    audiences: tuple[str, ...]
    """What the token may be for: the requested audiences, or else the client's default ones. All of the client's for a grant
    with stored scopes."""
    issuer_audience: tuple[str, ...] = ()
    """The issuer's URL if the client may request it though neither the client nor what is stored lists it; else empty."""
    source: RequestSource

    def required(self, name: str) -> str:
        """Return the value of a parameter. Raise InvalidRequest if it is missing."""
        value = self.parameters.get(name)
        if value is None:
            raise InvalidRequest(f"The parameter {name} is missing.")
        return value

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of a repeatable parameter, none if it is missing."""
        return self.repeated.get(name, ())
