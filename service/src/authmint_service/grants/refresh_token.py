"""The refresh token grant (RFC 6749, section 6)."""

from authmint_service.grants.request import GrantParameter, GrantRequest
from authmint_service.sessions import Sessions
from authmint_service.tokens import Authorization


class RefreshTokenGrant:
    """Redeems a refresh token. The request may narrow scope and audience for this one access token."""

    name = "refresh_token"
    parameters = (
        # A client with a refresh cookie sends it there; `authorize` refuses a request that has neither.
        GrantParameter("refresh_token", "Not for a client that keeps it in a cookie.", secret=True, required=False),
    )
    interactive = False
    confidential_only = False

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def authorize(self, request: GrantRequest) -> Authorization:
        redeemed = await self._sessions.redeem(
            request.required("refresh_token"),
            client_id=request.client.client_id,
            scopes=request.requested_scopes,
            audiences=request.requested_audiences,
        )
        session = redeemed.session
        return Authorization(
            subject=session.account_id,
            subject_profile="user",
            client_id=session.client_id,
            scopes=request.requested_scopes or session.scopes,
            audiences=request.requested_audiences or session.audiences,
            session_id=session.id,
            refresh_token=redeemed.refresh_token,
        )
