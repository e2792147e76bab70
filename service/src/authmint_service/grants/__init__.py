"""The grants: each turns a request with an authenticated client into an `Authorization`, and does nothing else.

Each grant describes itself: its name, its parameters, which clients may have it, where its scopes come from. The registry lists
them. What holds for every grant (client authentication, permission to use the grant, scopes, audiences) is done by the token
endpoint.
"""

from authmint_service.grants.client_credentials import ClientCredentialsGrant
from authmint_service.grants.grant import ClientKind, Grant, GrantParameter, GrantParts, ParameterText, ScopeSource
from authmint_service.grants.password import PasswordGrant
from authmint_service.grants.refresh_token import RefreshTokenGrant
from authmint_service.grants.registry import GrantRegistry, offered_grants
from authmint_service.grants.request import GrantRequest

__all__ = [
    "ClientCredentialsGrant",
    "ClientKind",
    "Grant",
    "GrantParameter",
    "GrantParts",
    "GrantRegistry",
    "GrantRequest",
    "ParameterText",
    "PasswordGrant",
    "RefreshTokenGrant",
    "ScopeSource",
    "offered_grants",
]
