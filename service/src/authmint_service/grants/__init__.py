"""The grants: each turns a request and an authenticated client into an Authorization, and does nothing else.

What holds for every grant (who the client is, whether it may use the grant, scopes, audiences) is for the token endpoint.
"""

from authmint_service.grants.client_credentials import ClientCredentialsGrant
from authmint_service.grants.password import PasswordGrant
from authmint_service.grants.refresh_token import RefreshTokenGrant
from authmint_service.grants.request import Grant, GrantRequest

__all__ = ["ClientCredentialsGrant", "Grant", "GrantRequest", "PasswordGrant", "RefreshTokenGrant"]
