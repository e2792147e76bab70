"""What becomes of a token that was issued: revocation (RFC 7009) and introspection (RFC 7662)."""

from typing import Any

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mintmark import Principal
from mintmark.claims import AccessTokenClaims
from mintmark.errors import InvalidClient, InvalidRequest, InvalidToken
from mintmark.scopes import format_scope
from service.clients import Client
from service.endpoints.client_authentication import ClientAuthentication, read_credentials
from service.endpoints.forms import read_form
from service.endpoints.oauth_answers import NO_STORE, answered
from service.endpoints.token_openapi import INTROSPECT_OPERATION, REVOKE_OPERATION
from service.sessions import Sessions
from service.tokens import AccessTokenReader, RevocationLists

log = structlog.get_logger("service.token")

DEAD = {"active": False}


class TokenStatusEndpoints:
    """Answers `POST /revoke` and `POST /introspect`."""

    def __init__(
        self, clients: ClientAuthentication, sessions: Sessions, reader: AccessTokenReader, revocations: RevocationLists
    ) -> None:
        self._clients, self._sessions, self._reader, self._revocations = clients, sessions, reader, revocations

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["tokens"])
        router.add_api_route("/revoke", self.revoke, methods=["POST"], response_model=None, **REVOKE_OPERATION)
        router.add_api_route("/introspect", self.introspect, methods=["POST"], response_model=None, **INTROSPECT_OPERATION)
        return router

    async def revoke(self, request: Request) -> Response:
        return await answered(request, self._revoke(request))

    async def introspect(self, request: Request) -> Response:
        return await answered(request, self._introspect(request))

    async def _revoke(self, request: Request) -> Response:
        client, token = await self._read(request)
        session = await self._sessions.revoke(token, client_id=client.client_id)
        if session is not None:
            log.info("session ended", sub=session.user_id, sid=session.id, by="revocation")
        elif claims := self._own(token, client):
            await self._end_session(claims)
        # The same for every token (section 2.2): who holds a stolen one learns nothing about it.
        return Response(status_code=200, headers=NO_STORE)

    def _own(self, token: str, client: Client) -> AccessTokenClaims | None:
        try:
            claims = self._reader.read(token)
        except InvalidToken:
            return None
        return claims if claims.client_id == client.client_id else None

    async def _end_session(self, claims: AccessTokenClaims) -> None:
        # An access token cannot be called back. The session that it is of brings no more of them.
        if claims.session_id is not None and await self._sessions.end(claims.session_id, user_id=claims.subject):
            log.info("session ended", sub=claims.subject, sid=claims.session_id, by="revocation")

    async def _introspect(self, request: Request) -> Response:
        client, token = await self._read(request)
        if not client.confidential:
            # Anyone can use a public client's name, and then ask which tokens are good (section 4).
            raise InvalidClient("Only a client with a secret may introspect tokens.")
        return JSONResponse(await self._status(token, client), headers=NO_STORE)

    async def _status(self, token: str, client: Client) -> dict[str, Any]:
        try:
            claims = self._reader.read(token)
        except InvalidToken:
            return await self._status_of_refresh_token(token, client)
        if not await self._is_live(claims):
            return DEAD
        return {"active": True, "token_type": "Bearer", **claims.to_claims()}

    async def _is_live(self, claims: AccessTokenClaims) -> bool:
        if (await self._revocations.current()).revoked.has(Principal.of(claims, {})):
            return False
        if claims.session_id is not None:
            # The list may be half a second old; the session's row is not.
            return await self._sessions.is_live(claims.session_id)
        return await self._clients.is_enabled(claims.client_id)

    async def _status_of_refresh_token(self, token: str, client: Client) -> dict[str, Any]:
        stored = await self._sessions.find_current(token, client_id=client.client_id)
        if stored is None:
            return DEAD
        session = stored.session
        scope = format_scope(session.scopes)
        return {"active": True, "client_id": session.client_id, "sub": session.user_id, "sid": session.id, "scope": scope}

    async def _read(self, request: Request) -> tuple[Client, str]:
        """The authenticated client, and the token it speaks of. A `token_type_hint` is not needed, so it is not read."""
        parameters = await read_form(request)
        client = await self._clients.authenticate(read_credentials(request, parameters))
        structlog.contextvars.bind_contextvars(client_id=client.client_id)
        if "token" not in parameters:
            raise InvalidRequest("The parameter token is missing.")
        return client, parameters["token"]
