"""The client credentials grant (RFC 6749, section 4.4): a service acts for itself. No session, no refresh token."""

from authmint_service.grants.grant import ClientKind, Grant, ScopeSource
from authmint_service.grants.request import GrantRequest
from authmint_service.tokens import Authorization


class ClientCredentialsGrant(Grant):
    """Authorizes the client itself."""

    name = "client_credentials"
    parameters = ()
    interactive = False
    # RFC 6749, section 4.4: a public client has no credentials, so anyone could get its tokens.
    confidential_only = True
    scopes_from = ScopeSource.REQUEST
    default_for = ClientKind.CONFIDENTIAL

    async def authorize(self, request: GrantRequest) -> Authorization:
        return Authorization(
            subject=request.client.subject,
            subject_profile="service",
            client_id=request.client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            reading=await self._parts.changes.epoch(),
        )
