"""The session that an access token belongs to."""

from authmint import Principal
from authmint.challenge import to_http_error
from authmint.errors import InvalidToken
from authmint_service.endpoints.requests import record_principal
from authmint_service.sessions import Sessions


def session_id_of(principal: Principal) -> str:
    """Record the caller for the log, and return the id of their session. Raises a 401 when the token has none."""
    record_principal(principal)
    if principal.session_id is None:
        raise to_http_error(InvalidToken("missing_sid"))
    return principal.session_id


async def require_live_session(sessions: Sessions, principal: Principal) -> str:
    """Return the id of the caller's session. Raises a 401 when it was revoked or has expired."""
    session_id = session_id_of(principal)
    # Other services accept an access token until it expires. Here the session's row decides, so sign-out takes effect at once.
    if await sessions.find_live(session_id) is None:
        raise to_http_error(InvalidToken("session_revoked"))
    return session_id
