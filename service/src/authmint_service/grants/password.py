"""The password grant (RFC 6749, section 4.3): sign-in in a first-party application. RFC 9700, section 2.4, forbids it.

It is offered because first-party applications ask for it, and only to clients that list it.
"""

from authmint.errors import InvalidGrant
from authmint_service.grants.grant import ClientKind, Grant, GrantParameter, ParameterText, ScopeSource
from authmint_service.grants.request import GrantRequest
from authmint_service.request_source import Actor
from authmint_service.sessions import EndCause
from authmint_service.tokens import Authentication, Authorization, Step, StepKind

UNDOING = Actor(kind="system", id="sign-in that failed afterwards")


class PasswordGrant(Grant):
    """Signs a person in with username and password, and starts a session."""

    name = "password"
    parameters = (
        GrantParameter("username", "The username.", text=ParameterText.CREDENTIAL),
        GrantParameter("password", "The password.", secret=True, text=ParameterText.CREDENTIAL),
    )
    interactive = True
    confidential_only = False
    scopes_from = ScopeSource.REQUEST
    default_for = ClientKind.PUBLIC

    async def authorize(self, request: GrantRequest) -> Authorization:
        username, password = request.required("username"), request.required("password")
        account = await self._parts.authenticator.authenticate(
            username, password, actor=request.client.actor, source=request.source
        )
        if account is None:
            raise InvalidGrant("The username or the password is wrong.")
        started = await self._parts.sessions.start(
            account_id=account.id,
            credentials_version=account.credentials_version,
            client_id=request.client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            source=request.source,
        )
        return Authorization(
            subject=account.id,
            subject_profile="user",
            client_id=request.client.client_id,
            scopes=request.scopes,
            audiences=request.audiences,
            reading=started.reading,
            session_id=started.session.id,
            refresh_token=started.refresh_token,
            authentication=Authentication(account.id, (Step(StepKind.PASSWORD, started.session.started_at),)),
        )

    async def complete(self, authorization: Authorization, request: GrantRequest) -> None:
        """Revoke the oldest sessions, if there are too many. A sign-in that fails must not cost one of them."""
        if authorization.session_id is not None:
            await self._parts.sessions.apply_limit(
                authorization.session_id,
                account_id=authorization.subject,
                client_id=authorization.client_id,
                source=request.source,
            )

    async def undo(self, authorization: Authorization) -> None:
        """Revoke the session that was started: no one has its refresh token."""
        if authorization.session_id is not None:
            await self._parts.sessions.revoke(
                authorization.session_id,
                account_id=authorization.subject,
                cause=EndCause.SIGNED_OUT,
                actor=UNDOING,
                source=None,
            )
