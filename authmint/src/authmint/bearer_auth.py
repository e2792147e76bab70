"""The doors of a resource server: dependencies that let callers in, or refuse them."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fastapi.openapi.models import OAuth2
from fastapi.params import Security
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.types import Scope

from authmint.challenge import bearer_token, issuer_unavailable, missing_token, refusal
from authmint.errors import ConfigurationError, InsufficientScope, InvalidRequest, InvalidToken, IssuerUnavailable
from authmint.principal import Principal
from authmint.scopes import is_scope_token
from authmint.token_verifier import TokenVerifier

_SCOPE_KEY = "authmint.principals"


class AllowedSubject(Enum):
    """Whom a door lets in, by what the token says of its subject."""

    ANYONE = "Anyone with a valid token."
    USERS = "Only a person may do this."
    MACHINES = "Only a service acting for itself may do this."


@dataclass(slots=True)
class AuthState:
    """What all doors of one resource server share."""

    verifier: TokenVerifier
    scheme: OAuth2
    scopes: frozenset[str] | None
    """The scopes that routes may require; None: any."""
    resource_metadata: str | None = None
    """Where this service describes itself (RFC 9728), for challenges."""


class BearerAuth(SecurityBase):
    """A dependency that lets callers in. It is one stable object, so that `dependency_overrides[door]` works everywhere."""

    def __init__(self, reception: AuthState, *, admits: AllowedSubject, optional: bool) -> None:
        self._reception, self._admits, self._optional = reception, admits, optional
        self._admits_some = admits is not AllowedSubject.ANYONE
        # FastAPI reads these two for OpenAPI; all doors of one server share them, so the scopes of an operation merge.
        self.model = reception.scheme
        self.scheme_name = "Authmint"

    def requires(self, *scopes: str) -> Any:
        """A parameter or router dependency that needs all of `scopes`.

        Raises ConfigurationError for a scope that the server's `scopes` do not list: most likely a typing error.
        """
        known = self._reception.scopes
        for scope in scopes:
            if not is_scope_token(scope) or (known is not None and scope not in known):
                raise ConfigurationError(f"The scope {scope!r} is not among the scopes of this ResourceServer.")
        # `scope` is FastAPI's word for how long a dependency that yields stays open. This one does not yield; to say so here
        # saves FastAPI from looking it up at each request.
        return Security(dependency=self, scopes=scopes, scope="request")

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> Principal | None:
        """The caller; None only from `optional`. Raises Refusal, an HTTPException, for HTTP and WebSocket alike."""
        return await self.admit(connection.scope, security_scopes.scopes)

    async def admit(self, scope: Scope, scopes: Collection[str]) -> Principal | None:
        """The same for code that is no FastAPI dependency. `scope` is the ASGI connection's; `scopes`, what it needs."""
        try:
            token = bearer_token(scope)
            if token is None:
                if self._optional:
                    return None
                raise missing_token(scopes, self._reception.resource_metadata)
            principal = self._reception.verifier.recall(token) or await self._verify(scope, token)
            self._check(principal, scopes)
        except IssuerUnavailable as error:
            raise issuer_unavailable(error) from error
        except (InvalidToken, InsufficientScope, InvalidRequest) as error:
            raise refusal(error, self._reception.resource_metadata) from error
        return principal

    async def _verify(self, scope: Scope, token: str) -> Principal:
        # FastAPI calls a security dependency once for each set of scopes; the token is the same each time.
        remembered: dict[TokenVerifier, Principal] = scope.setdefault(_SCOPE_KEY, {})
        verifier = self._reception.verifier
        if verifier not in remembered:
            remembered[verifier] = await verifier.verify(token)
        return remembered[verifier]

    def _check(self, principal: Principal, scopes: Collection[str]) -> None:
        if not principal.scopes.issuperset(scopes):
            raise InsufficientScope(scopes)
        if self._admits_some and not (principal.is_user if self._admits is AllowedSubject.USERS else principal.is_service):
            raise InsufficientScope((), self._admits.value)
