"""How a session proves itself: with its current refresh token, in a form or in the cookie of a client that keeps it there.

Without a proof, the caller's own session is revoked like all others: an access token alone, which may be stolen, keeps none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal
from authmint.errors import InvalidRequest
from authmint_service.clients import Client
from authmint_service.endpoints.field_errors import FieldError
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse
from authmint_service.endpoints.requests import actor_of, request_source
from authmint_service.endpoints.responses import problem_response
from authmint_service.endpoints.session_schemas import ThisSession
from authmint_service.sentences import sentence_for
from authmint_service.sessions import AccountSessions, RefreshRequest, RefreshTokenReused, SessionProof

log = structlog.get_logger(__name__)

PROOF_PARAMETER: dict[str, Any] = {
    "type": "string",
    "description": "The current refresh token of this session, which is then replaced. Without it this session is revoked as "
    "well. Not for a client that keeps it in a cookie.",
}
PROOF_DESCRIPTION = """
This session is kept if it proves itself with its current refresh token: in the form, or in the cookie of a client that keeps
it there, whose requests must come from one of its `origins`. The response has a new refresh token, in the same place, and
copies of the old one are worth nothing. Without a proof this session is revoked as well, and `this_session` says so.
"""


@dataclass(frozen=True, slots=True)
class Presented:
    """The client of a request, and the proof that it presents; None without one."""

    client: Client | None
    proof: SessionProof | None


class SessionProofs:
    """Reads proofs, and responds with what replaces them."""

    def __init__(self, sessions: AccountSessions, clients: ClientAuthentication, cookies: RefreshCookies) -> None:
        self._sessions, self._clients, self._cookies = sessions, clients, cookies

    async def read(self, request: Request, form: Mapping[str, str], principal: Principal, session_id: str) -> Presented:
        """Return what shows that the request is the session's own. Raises InvalidRequest, InvalidGrant for a wrong proof."""
        client = await self._clients.find(principal.client_id)
        text = form.get("refresh_token")
        if client is not None and client.refresh_cookie:
            if text is not None:
                raise InvalidRequest("The refresh token of this client belongs in its cookie alone.")
            text = self._cookies.read(request, client)
            if text is not None:
                self._cookies.check_origin(request, client)
        if text is None:
            return Presented(client, None)
        asked = RefreshRequest(
            client_id=principal.client_id, scopes=frozenset(), audiences=(), actor=actor_of(principal),
            source=request_source(request),
        )  # fmt: skip
        return Presented(client, await self._sessions.prove(text, session_id, asked))

    def respond(self, presented: Presented) -> Response:
        """Return what became of the caller's session, with its new refresh token."""
        client, proof = presented.client, presented.proof
        if proof is None:
            return _response(ThisSession(this_session="revoked"))
        if client is None or not client.refresh_cookie:
            return _response(ThisSession(this_session="kept", refresh_token=proof.refresh_token))
        response = _response(ThisSession(this_session="kept"))
        self._cookies.set(response, client, proof.refresh_token)
        return response


def invalid_proof_response(error: Exception) -> Response:
    """Return the 400 for a refresh token that proves nothing."""
    if isinstance(error, RefreshTokenReused):
        log.warning("refresh_token.reused", reason=error.cause.value, sub=error.session.account_id, sid=error.session.id)
    invalid = FieldError("refresh_token", "refresh_token_invalid", sentence_for("refresh_token_invalid", {}))
    return problem_response(400, invalid.code, invalid.detail, errors=[invalid])


def _response(members: ThisSession) -> FastJSONResponse:
    return FastJSONResponse(members.model_dump(exclude_none=True), headers=NO_STORE)
