"""Token revocation (RFC 7009). Revoking any token of a session revokes the session; a service's token is revoked by itself."""

from collections.abc import Callable, Mapping

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal
from authmint.errors import InvalidRequest, InvalidToken
from authmint_service.clients import Client
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.endpoints.oauth.forms import required_token
from authmint_service.endpoints.oauth.openapi import REVOKE_OPERATION
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse, respond
from authmint_service.endpoints.requests import request_source
from authmint_service.request_source import RequestSource
from authmint_service.revocations import RevocationStore
from authmint_service.sessions import EndCause, Sessions, has_refresh_token_prefix
from authmint_service.tokens import AccessTokenReader

log = structlog.get_logger(__name__)


class RevocationEndpoint:
    """`POST /revoke`."""

    def __init__(
        self,
        clients: ClientAuthentication,
        cookies: RefreshCookies,
        sessions: Sessions,
        revocations: RevocationStore,
        reader: AccessTokenReader,
        *,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: seconds since the epoch, by the clock that all processes share."""
        self._clients, self._cookies, self._sessions = clients, cookies, sessions
        self._revocations, self._reader, self._clock = revocations, reader, clock

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["tokens"])
        router.add_api_route("/revoke", self.revoke_token, methods=["POST"], response_class=Response, **REVOKE_OPERATION)
        return router

    async def revoke_token(self, request: Request) -> Response:
        return await respond(request, self._revoke(request))

    async def _revoke(self, request: Request) -> Response:
        client, parameters = await self._clients.authenticate_form(request)
        # The same response for every token (section 2.2): the holder of a stolen token learns nothing about it.
        # Some clients read JSON from every response, so it is an empty object.
        response = FastJSONResponse({}, headers=NO_STORE)
        if client.refresh_cookie:
            await self._revoke_for_cookie_client(request, parameters, client, response)
        elif not await self._revoke_refresh_token(required_token(parameters), client, request_source(request)):
            await self._revoke_access_token(required_token(parameters), client, request_source(request))
        return response

    async def _revoke_for_cookie_client(
        self, request: Request, parameters: Mapping[str, str], client: Client, response: Response
    ) -> None:
        """Revoke the parameter `token`, or without it the token in the cookie."""
        self._cookies.check_origin(request, client)
        token = parameters.get("token")
        if token is None:
            in_cookie = self._cookies.read(request, client)
            if in_cookie is not None and await self._revoke_refresh_token(in_cookie, client, request_source(request)):
                self._cookies.clear(response, client)
        elif has_refresh_token_prefix(token):
            raise InvalidRequest("The refresh token of this client belongs in its cookie alone.")
        else:
            await self._revoke_access_token(token, client, request_source(request))

    async def _revoke_refresh_token(self, token: str, client: Client, source: RequestSource) -> bool:
        session = await self._sessions.revoke_by_token(token, client_id=client.client_id, actor=client.actor, source=source)
        if session is not None:
            log.info("session.revoked", sub=session.account_id, sid=session.id, actor="client")
        return session is not None

    async def _revoke_access_token(self, token: str, client: Client, source: RequestSource) -> None:
        principal = self._read_own(token, client)
        if principal is None:
            return
        if principal.session_id is None:
            if await self._revocations.revoke_token(principal, self._clock(), actor=client.actor, source=source):
                log.info("token.revoked", sub=principal.sub, jti=principal.claims["jti"], actor="client")
            return
        # The session issues no more access tokens, and the revocation list has it: this one dies with it.
        revoked = await self._sessions.revoke(
            principal.session_id, account_id=principal.sub, cause=EndCause.SIGNED_OUT, actor=client.actor, source=source
        )
        if revoked:
            log.info("session.revoked", sub=principal.sub, sid=principal.session_id, actor="client")

    def _read_own(self, token: str, client: Client) -> Principal | None:
        try:
            principal = self._reader.read(token)
        except InvalidToken:
            return None
        return principal if principal.client_id == client.client_id else None
