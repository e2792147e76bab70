"""The password grant (RFC 6749, section 4.3): sign-in in a first-party application. RFC 9700, section 2.4, forbids it.

It is offered because first-party applications ask for it, and only to clients that list it.
"""

from authmint.errors import InvalidGrant
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.clients import Client
from authmint_service.grants.request import GrantParameter, GrantRequest
from authmint_service.sessions import Sessions
from authmint_service.tokens import Authorization


class PasswordGrant:
    """Signs a person in with username and password, and starts a session."""

    name = "password"
    parameters = (
        GrantParameter("username", "The username."),
        GrantParameter("password", "The password.", secret=True),
    )
    interactive = True
    confidential_only = False

    def __init__(self, authenticator: PasswordAuthenticator, sessions: Sessions) -> None:
        self._authenticator, self._sessions = authenticator, sessions

    async def authorize(self, request: GrantRequest) -> Authorization:
        username, password = request.required("username"), request.required("password")
        account = await self._authenticator.authenticate(username, password)
        if account is None:
            raise InvalidGrant("The username or the password is wrong.")
        client: Client = request.client
        started = await self._sessions.start(
            account_id=account.id,
            credentials_version=account.credentials_version,
            client_id=client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            ip_address=request.source.ip_address,
        )
        return Authorization(
            subject=account.id,
            subject_profile="user",
            client_id=client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            session_id=started.session.id,
            refresh_token=started.refresh_token if "refresh_token" in client.grants else None,
        )
