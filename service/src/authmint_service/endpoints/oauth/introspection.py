"""Token introspection (RFC 7662)."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal
from authmint.errors import InvalidClient, InvalidToken
from authmint.scopes import format_scope
from authmint_service.clients import Client
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.forms import required_token
from authmint_service.endpoints.oauth.openapi import INTROSPECT_OPERATION
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse, respond
from authmint_service.grants import RefreshTokenGrant
from authmint_service.revocations import RevocationStore
from authmint_service.sessions import LiveSession, Sessions
from authmint_service.tokens import AccessTokenReader, RevocationListPublisher

INACTIVE = {"active": False}


class IntrospectionEndpoint:
    """`POST /introspect`."""

    def __init__(
        self,
        clients: ClientAuthentication,
        sessions: Sessions,
        reader: AccessTokenReader,
        revocation_list: RevocationListPublisher,
        revocations: RevocationStore,
    ) -> None:
        self._clients, self._sessions, self._reader = clients, sessions, reader
        self._revocation_list, self._revocations = revocation_list, revocations

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["tokens"])
        router.add_api_route(
            "/introspect", self.introspect_token, methods=["POST"], response_model=None, **INTROSPECT_OPERATION
        )
        return router

    async def introspect_token(self, request: Request) -> Response:
        return await respond(request, self._introspect(request))

    async def _introspect(self, request: Request) -> Response:
        client, parameters = await self._clients.authenticate_form(request)
        if not client.confidential:
            # Anyone can use a public client's id, and could then ask which tokens are valid (section 4).
            raise InvalidClient("Only a client with a secret may introspect tokens.")
        return FastJSONResponse(await self._describe(required_token(parameters), client), headers=NO_STORE)

    async def _describe(self, token: str, client: Client) -> dict[str, Any]:
        try:
            principal = self._reader.read(token)
        except InvalidToken:
            return await self._describe_refresh_token(token, client)
        if self._revocation_list.entries.revokes(principal):
            return INACTIVE
        if principal.session_id is None:
            return _members(principal) if await self._is_live_service(principal) else INACTIVE
        # The list may be half a second old; the session's row is current, and so is that of a revoked token.
        session = await self._sessions.find_live(principal.session_id)
        return INACTIVE if session is None else _members(principal) | _username(session)

    async def _is_live_service(self, principal: Principal) -> bool:
        return await self._clients.is_enabled(principal.client_id) and not await self._revocations.is_token_revoked(principal)

    async def _describe_refresh_token(self, token: str, client: Client) -> dict[str, Any]:
        stored = await self._sessions.find_redeemable(token, client_id=client.client_id)
        if stored is None or RefreshTokenGrant.name not in client.grants:
            return INACTIVE
        session = stored.session
        live = await self._sessions.find_live(session.id)
        if live is None:
            return INACTIVE
        # What a refresh brings: the client may have lost some of what was granted.
        scope = format_scope(session.scopes & client.scopes)
        members = {"client_id": session.client_id, "sub": session.account_id, "sid": session.id, "scope": scope}
        return {"active": True, **members, **_username(live)}


def _members(principal: Principal) -> dict[str, Any]:
    return {"active": True, "token_type": "Bearer", **principal.claims}


def _username(session: LiveSession) -> dict[str, str]:
    """Return the name of the person for those that find accounts by it (RFC 7662, section 2.2)."""
    return {} if session.username is None else {"username": session.username}
