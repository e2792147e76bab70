"""The grants: each turns a request with an authenticated client into an `Authorization`, and does nothing else.

Each grant describes itself: its name, its parameters and which clients may have it. The registry lists them. What holds for
every grant (client authentication, permission to use the grant, scopes, audiences) is done by the token endpoint.
"""

from authmint_service.grants.client_credentials import ClientCredentialsGrant
from authmint_service.grants.password import PasswordGrant
from authmint_service.grants.refresh_token import RefreshTokenGrant
from authmint_service.grants.registry import GRANT_CLASSES, GRANT_TYPES, check_client_grants
from authmint_service.grants.request import Grant, GrantParameter, GrantRequest

__all__ = [
    "GRANT_CLASSES",
    "GRANT_TYPES",
    "ClientCredentialsGrant",
    "Grant",
    "GrantParameter",
    "GrantRequest",
    "PasswordGrant",
    "RefreshTokenGrant",
    "check_client_grants",
]
