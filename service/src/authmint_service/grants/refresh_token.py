"""The refresh token grant (RFC 6749, section 6)."""

from authmint_service.grants.request import GrantRequest
from authmint_service.sessions import Sessions
from authmint_service.tokens import Authorization


class RefreshTokenGrant:
    """Redeems a refresh token. It may ask for less than the session has, for this one access token."""

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
