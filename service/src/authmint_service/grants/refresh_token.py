"""The refresh token grant (RFC 6749, section 6)."""

from authmint_service.grants.grant import ClientKind, Grant, GrantParameter, ParameterText, ScopeSource
from authmint_service.grants.request import GrantRequest
from authmint_service.sessions import RefreshRequest
from authmint_service.tokens import Authentication, Authorization, Step, StepKind


class RefreshTokenGrant(Grant):
    """Redeems a refresh token. The request may narrow scope and audience for this one access token."""

    name = "refresh_token"
    parameters = (
        # A client with a refresh cookie sends it there; `authorize` refuses a request that has neither.
        GrantParameter(
            "refresh_token", "Not for a client that keeps it in a cookie.", secret=True, required=False,
            text=ParameterText.OPAQUE,
        ),
    )  # fmt: skip
    interactive = False
    confidential_only = False
    scopes_from = ScopeSource.STORED
    default_for = ClientKind.PUBLIC

    async def authorize(self, request: GrantRequest) -> Authorization:
        redeemed = await self._parts.sessions.redeem(
            request.required("refresh_token"),
            RefreshRequest(
                client_id=request.client.client_id,
                scopes=request.requested_scopes,
                audiences=request.requested_audiences,
                issuer_audience=request.issuer_audience,
                actor=request.client.actor,
                source=request.source,
            ),
        )
        session = redeemed.session
        return Authorization(
            subject=session.account_id,
            subject_profile="user",
            client_id=session.client_id,
            scopes=request.requested_scopes or session.scopes,
            audiences=request.requested_audiences or session.audiences,
            reading=redeemed.reading,
            session_id=session.id,
            refresh_token=redeemed.refresh_token,
            # Every session begins with a password: there is one interactive grant. A second one must store the steps.
            authentication=Authentication(session.account_id, (Step(StepKind.PASSWORD, session.started_at),)),
        )

    async def undo(self, authorization: Authorization) -> None:
        """Let the token that was presented redeem the same child again."""
        if authorization.refresh_token is not None:
            await self._parts.sessions.restore_parent(authorization.refresh_token)
