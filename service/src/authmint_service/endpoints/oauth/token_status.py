"""What becomes of a token that was issued: revocation (RFC 7009) and introspection (RFC 7662)."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal
from authmint.errors import InvalidClient, InvalidRequest, InvalidToken
from authmint.scopes import format_scope
from authmint_service.clients import Client
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication, read_credentials
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.oauth.openapi import INTROSPECT_OPERATION, REVOKE_OPERATION
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse, respond
from authmint_service.request_log import current_record
from authmint_service.sessions import Sessions, has_refresh_token_prefix
from authmint_service.tokens import AccessTokenReader, RevocationListPublisher

log = structlog.get_logger(__name__)

DEAD = {"active": False}


class TokenStatusEndpoints:
    """Answers `POST /revoke` and `POST /introspect`."""

    def __init__(
        self, clients: ClientAuthentication, cookies: RefreshCookies, sessions: Sessions, reader: AccessTokenReader,
        revocations: RevocationListPublisher,
    ) -> None:  # fmt: skip
        self._clients, self._cookies, self._sessions, self._reader = clients, cookies, sessions, reader
        self._revocations = revocations

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["tokens"])
        router.add_api_route("/revoke", self.revoke, methods=["POST"], response_class=Response, **REVOKE_OPERATION)
        router.add_api_route("/introspect", self.introspect, methods=["POST"], response_model=None, **INTROSPECT_OPERATION)
        return router

    async def revoke(self, request: Request) -> Response:
        return await respond(request, self._revoke(request))

    async def introspect(self, request: Request) -> Response:
        return await respond(request, self._introspect(request))

    async def _revoke(self, request: Request) -> Response:
        client, parameters = await self._read(request)
        # The same for every token (section 2.2): who holds a stolen one learns nothing about it.
        response = Response(status_code=200, headers=NO_STORE)
        if client.refresh_cookie:
            await self._revoke_from_page(request, parameters, client, response)
        elif not await self._end_by_refresh_token(_token_of(parameters), client):
            await self._end_by_access_token(_token_of(parameters), client)
        return response

    async def _revoke_from_page(
        self, request: Request, parameters: Mapping[str, str], client: Client, response: Response
    ) -> None:
        """Without a `token` it is about the one in the cookie."""
        self._cookies.check_origin(request, client)
        token = parameters.get("token")
        if token is None:
            in_cookie = self._cookies.read(request, client)
            if in_cookie is not None and await self._end_by_refresh_token(in_cookie, client):
                self._cookies.forget(response, client)
        elif has_refresh_token_prefix(token):
            raise InvalidRequest("The refresh token of this client travels in its cookie alone.")
        else:
            await self._end_by_access_token(token, client)

    async def _end_by_refresh_token(self, token: str, client: Client) -> bool:
        session = await self._sessions.revoke_by_token(token, client_id=client.client_id)
        if session is not None:
            log.info("session.revoked", sub=session.account_id, sid=session.id, actor="client")
        return session is not None

    async def _end_by_access_token(self, token: str, client: Client) -> None:
        # An access token cannot be called back. The session that it is of brings no more of them.
        principal = self._own(token, client)
        if principal is None or principal.session_id is None:
            return
        if await self._sessions.revoke(principal.session_id, account_id=principal.sub):
            log.info("session.revoked", sub=principal.sub, sid=principal.session_id, actor="client")

    def _own(self, token: str, client: Client) -> Principal | None:
        try:
            principal = self._reader.read(token)
        except InvalidToken:
            return None
        return principal if principal.client_id == client.client_id else None

    async def _introspect(self, request: Request) -> Response:
        client, parameters = await self._read(request)
        if not client.confidential:
            # Anyone can use a public client's name, and then ask which tokens are good (section 4).
            raise InvalidClient("Only a client with a secret may introspect tokens.")
        return FastJSONResponse(await self._status(_token_of(parameters), client), headers=NO_STORE)

    async def _status(self, token: str, client: Client) -> dict[str, Any]:
        try:
            principal = self._reader.read(token)
        except InvalidToken:
            return await self._status_of_refresh_token(token, client)
        if not await self._is_live(principal):
            return DEAD
        return {"active": True, "token_type": "Bearer", **principal.claims}

    async def _is_live(self, principal: Principal) -> bool:
        if (await self._revocations.current()).revoked.revokes(principal):
            return False
        if principal.session_id is not None:
            # The list may be half a second old; the session's row is not.
            return await self._sessions.is_live(principal.session_id)
        return await self._clients.is_enabled(principal.client_id)

    async def _status_of_refresh_token(self, token: str, client: Client) -> dict[str, Any]:
        stored = await self._sessions.find_current(token, client_id=client.client_id)
        if stored is None:
            return DEAD
        session = stored.session
        scope = format_scope(session.scopes)
        return {"active": True, "client_id": session.client_id, "sub": session.account_id, "sid": session.id, "scope": scope}

    async def _read(self, request: Request) -> tuple[Client, Mapping[str, str]]:
        """The authenticated client, and what it sent."""
        parameters = await read_form(request)
        client = await self._clients.authenticate(read_credentials(request, parameters))
        current_record().add(client_id=client.client_id)
        return client, parameters


def _token_of(parameters: Mapping[str, str]) -> str:
    """The token that is spoken of. A `token_type_hint` is not needed, so it is not read."""
    if "token" not in parameters:
        raise InvalidRequest("The parameter token is missing.")
    return parameters["token"]
