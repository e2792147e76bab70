"""The password grant (RFC 6749, section 4.3): the sign-in of a first-party application. RFC 9700, 2.4, advises against it."""

from authmint.errors import InvalidGrant
from authmint_service.authentication import PasswordAuthenticator
from authmint_service.clients import Client
from authmint_service.grants.request import GrantRequest
from authmint_service.sessions import Sessions
from authmint_service.tokens import Authorization


class PasswordGrant:
    """Signs a person in, and starts a session."""

    def __init__(self, people: PasswordAuthenticator, sessions: Sessions) -> None:
        self._people, self._sessions = people, sessions

    async def authorize(self, request: GrantRequest) -> Authorization:
        username, password = request.required("username"), request.required("password")
        account = await self._people.authenticate(username, password)
        if account is None:
            raise InvalidGrant("The username or the password is wrong.")
        client: Client = request.client
        started = await self._sessions.start(
            account_id=account.id,
            credentials_version=account.credentials_version,
            client_id=client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            ip_address=request.peer,
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
