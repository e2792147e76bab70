"""The bearer-token dependencies of a resource server: each authenticates the caller of a request, or refuses the request."""

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fastapi.params import Depends, Security
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.types import Scope

from authmint.challenge import bearer_token, issuer_unavailable, missing_token, to_http_error
from authmint.errors import ConfigurationError, InsufficientScope, InvalidRequest, InvalidToken, IssuerUnavailable
from authmint.openapi import IssuerScheme
from authmint.principal import Principal
from authmint.scopes import is_scope_token
from authmint.token_verifier import TokenVerifier

_SCOPE_KEY = "authmint.principals"


class AllowedSubject(Enum):
    """Which subjects a dependency allows. The value is the description of the error that all others get."""

    ANY = "Any valid token is allowed."
    USER = "Only a user may do this."
    SERVICE = "Only a service acting for itself may do this."


@dataclass(slots=True)
class AuthState:
    """The state that all dependencies of one resource server share."""

    verifier: TokenVerifier
    schemes: Sequence[IssuerScheme]
    """One for each issuer."""
    scopes: frozenset[str] | None
    """The scopes that routes may require; None: any."""
    resource_metadata: str | None = None
    """The URL of this service's own metadata (RFC 9728), for challenges."""


class BearerAuth(SecurityBase):
    """A FastAPI dependency that returns the caller of a request.

    It is one stable object, so that `dependency_overrides[auth]` works for every route.
    """

    def __init__(self, state: AuthState, *, allowed_subject: AllowedSubject, optional: bool) -> None:
        self._state, self._allowed_subject, self._optional = state, allowed_subject, optional
        self._checks_subject = allowed_subject is not AllowedSubject.ANY
        # FastAPI reads these two for OpenAPI. All dependencies of one server share them, so the scopes of an operation merge.
        scheme, *others = state.schemes
        self.model, self.scheme_name = scheme.model, scheme.scheme_name
        # It finds the schemes of the other issuers as parameters, which are alternatives with the same scopes.
        own = list(inspect.signature(self.__call__).parameters.values())[:-1]
        more = [inspect.Parameter(f"issuer_{n}", own[0].kind, default=Depends(other)) for n, other in enumerate(others)]
        self.__signature__ = inspect.Signature(own + more)

    def requires(self, *scopes: str) -> Any:
        """Return a parameter or router dependency that requires all of `scopes`.

        Raise ConfigurationError for a scope that is not one of the server's `scopes`: most likely a typing error.
        """
        known = self._state.scopes
        for scope in scopes:
            if not is_scope_token(scope) or (known is not None and scope not in known):
                raise ConfigurationError(f"The scope {scope!r} is not among the scopes of this ResourceServer.")
        # FastAPI's `scope` is how long a dependency that yields stays open. This one does not yield. Naming it here saves
        # FastAPI from computing it for each request.
        return Security(dependency=self, scopes=scopes, scope="request")

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes, **issuers: None) -> Principal | None:
        """Return the caller; None only from `optional`. Raise BearerAuthError, for HTTP and WebSocket alike."""
        return await self.authenticate(connection.scope, security_scopes.scopes)

    async def authenticate(self, scope: Scope, scopes: Collection[str]) -> Principal | None:
        """Do the same outside FastAPI. `scope` is the ASGI connection's; `scopes` are the required ones."""
        try:
            token = bearer_token(scope)
            if token is None:
                if self._optional:
                    return None
                raise missing_token(scopes, self._state.resource_metadata)
            principal = self._state.verifier.find_cached(token) or await self._verify(scope, token)
            self._check(principal, scopes)
        except IssuerUnavailable as error:
            raise issuer_unavailable(error) from error
        except (InvalidToken, InsufficientScope, InvalidRequest) as error:
            raise to_http_error(error, self._state.resource_metadata) from error
        return principal

    async def _verify(self, scope: Scope, token: str) -> Principal:
        # FastAPI calls a security dependency once for each set of scopes; the token is the same each time.
        verified: dict[TokenVerifier, Principal] = scope.setdefault(_SCOPE_KEY, {})
        verifier = self._state.verifier
        if verifier not in verified:
            verified[verifier] = await verifier.verify(token)
        return verified[verifier]

    def _check(self, principal: Principal, scopes: Collection[str]) -> None:
        if not principal.scopes.issuperset(scopes):
            raise InsufficientScope(scopes)
        if self._checks_subject:
            is_user_required = self._allowed_subject is AllowedSubject.USER
            if not (principal.is_user if is_user_required else principal.is_service):
                raise InsufficientScope((), self._allowed_subject.value)
