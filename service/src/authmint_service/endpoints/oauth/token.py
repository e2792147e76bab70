"""The token endpoint (RFC 6749, section 3.2). Its numbered phases apply to every grant, so that no grant can forget one."""

from collections.abc import Mapping
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient, UnsupportedGrantType
from authmint.scopes import parse_scope
from authmint_service.clients import Client
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication, read_credentials
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.oauth.openapi import TOKEN_OPERATION
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse, respond
from authmint_service.endpoints.requests import request_source
from authmint_service.grants import Grant, GrantRequest
from authmint_service.request_log import Outcome, current_record
from authmint_service.request_source import RequestSource
from authmint_service.signing_keys import KeyRing
from authmint_service.tokens import Authorization, TokenIssuer, TokenResponse


class TokenEndpoint:
    """`POST /token`."""

    def __init__(
        self,
        grants: Mapping[str, Grant],
        clients: ClientAuthentication,
        cookies: RefreshCookies,
        ring: KeyRing,
        issuer: TokenIssuer,
    ) -> None:
        self._grants, self._clients, self._cookies, self._ring, self._issuer = grants, clients, cookies, ring, issuer

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["tokens"])
        router.add_api_route("/token", self.issue_token, methods=["POST"], response_model=None, **TOKEN_OPERATION)
        return router

    async def issue_token(self, request: Request) -> Response:
        return await respond(request, self._exchange(request))

    async def _exchange(self, request: Request) -> Response:
        # 0. Without a key no token can be issued. Checked first, so that no refresh token is used up for nothing.
        _ = self._ring.signer
        # 1. Parse.
        parameters: Mapping[str, str] = await read_form(request)
        record = current_record()
        record.add(grant_type=_known_grant_type(parameters, self._grants))
        # 2. Authenticate the client. The refresh token of some clients comes in a cookie, from their own pages alone.
        client = await self._clients.authenticate(read_credentials(request, parameters))
        record.add(client_id=client.client_id)
        parameters = self._cookies.add_refresh_token(parameters, request, client)
        # 3. Find the grant.
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise InvalidRequest("The parameter grant_type is missing.")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise UnsupportedGrantType
        # 4. Check that the client may use it.
        if grant_type not in client.grants or (grant.confidential_only and not client.confidential):
            raise UnauthorizedClient
        # 5. Scope and audience policy.
        grant_request = _apply_client_policy(client, parameters, request_source(request))
        # 6. Authorize, then restrict once more to what the client may have now: a stored session may hold more.
        authorization = _restrict_to_client(await grant.authorize(grant_request), client)
        # 7. Issue.
        tokens = await self._issuer.issue(authorization)
        sub, sid = authorization.subject, authorization.session_id
        record.set_outcome(Outcome.TOKEN_ISSUED, sub=sub, sid=sid, jti=tokens.token_id)
        # 8. Respond.
        return self._respond(tokens, client)

    def _respond(self, tokens: TokenResponse, client: Client) -> Response:
        if not client.refresh_cookie or tokens.refresh_token is None:
            return FastJSONResponse(tokens.to_json(), headers=NO_STORE)
        response = FastJSONResponse(replace(tokens, refresh_token=None).to_json(), headers=NO_STORE)
        self._cookies.set(response, client, tokens.refresh_token)
        return response


def _apply_client_policy(client: Client, parameters: Mapping[str, str], source: RequestSource) -> GrantRequest:
    requested = parse_scope(parameters.get("scope", ""))
    scopes = requested & client.scopes if requested else client.scopes
    if requested and not scopes:
        raise InvalidScope("This client may have none of the requested scopes.")
    resource = parameters.get("resource")
    if resource is not None and resource not in client.resources:
        raise InvalidTarget
    audiences = () if resource is None else (resource,)
    return GrantRequest(
        client=client,
        parameters=parameters,
        requested_scopes=requested,
        scopes=scopes,
        requested_audiences=audiences,
        audiences=audiences or client.default_resources,
        source=source,
    )


def _restrict_to_client(authorization: Authorization, client: Client) -> Authorization:
    scopes = authorization.scopes & client.scopes
    audiences = tuple(audience for audience in authorization.audiences if audience in client.resources)
    if authorization.scopes and not scopes:
        raise InvalidScope("This client may no longer have any of these scopes.")
    if not audiences:
        raise InvalidTarget("This client may no longer have tokens for any of these audiences.")
    if scopes == authorization.scopes and audiences == authorization.audiences:
        return authorization
    return replace(authorization, scopes=scopes, audiences=audiences)


def _known_grant_type(parameters: Mapping[str, str], grants: Mapping[str, Grant]) -> str | None:
    grant_type = parameters.get("grant_type")
    return grant_type if grant_type in grants else None
