"""The token endpoint (RFC 6749, section 3.2). Its numbered phases apply to every grant, so that no grant can forget one."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient, UnsupportedGrantType
from authmint.scopes import parse_scope
from authmint_service.clients import Client
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication, read_credentials
from authmint_service.endpoints.oauth.forms import NAMES, Form, FormRules, read_form_by
from authmint_service.endpoints.oauth.openapi import TOKEN_OPERATION
from authmint_service.endpoints.oauth.refresh_cookie import RefreshCookies
from authmint_service.endpoints.oauth.responses import NO_STORE, FastJSONResponse, respond
from authmint_service.endpoints.requests import request_source
from authmint_service.grants import (
    Grant,
    GrantParts,
    GrantRegistry,
    GrantRequest,
    ParameterText,
    RefreshTokenGrant,
    ScopeSource,
)
from authmint_service.logs import error_locations
from authmint_service.request_log import Outcome, current_record
from authmint_service.request_source import RequestSource
from authmint_service.signing_keys import KeyRing
from authmint_service.tokens import Authorization, TokenIssuer, TokenResponse

log = structlog.get_logger(__name__)


class TokenEndpoint:
    """`POST /token`."""

    def __init__(
        self,
        registry: GrantRegistry,
        parts: GrantParts,
        clients: ClientAuthentication,
        cookies: RefreshCookies,
        ring: KeyRing,
        issuer: TokenIssuer,
        issuer_url: str,
    ) -> None:
        """`issuer_url`: the audience of tokens for the service's own routes."""
        self._grants, self._rules = registry.make(parts), _form_rules(registry)
        self._clients, self._cookies, self._ring, self._issuer = clients, cookies, ring, issuer
        self._changes, self._issuer_url = parts.changes, issuer_url

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
        form = await read_form_by(self._rules, request)
        record = current_record()
        record.add(grant_type=self._known_grant_type(form.parameters))
        # 2. Authenticate the client. The refresh token of some clients comes in a cookie, from their own pages alone.
        source = request_source(request)
        credentials = read_credentials(request, form.parameters)
        client = await self._clients.authenticate(credentials, source)
        record.add(client_id=client.client_id)
        parameters = self._cookies.add_refresh_token(form.parameters, request, client)
        # 3. Find the grant.
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise InvalidRequest("The parameter grant_type is missing.")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise UnsupportedGrantType
        # 4. Check that the client may use it.
        _check_permission(grant, client)
        # 5. Parameters of the grant, scope and audience policy.
        _check_parameters(grant, parameters, form)
        grant_request = _apply_client_policy(grant, client, parameters, form, source, self._issuer_url)
        # 6. Authorize. From here on a refresh token may be used up.
        known = self._changes.n
        authorization = await grant.authorize(grant_request)
        try:
            # The token's epoch says that all changes up to it were seen, so what the client may have is at least as new.
            if authorization.reading.epoch != self._changes.n:
                await self._changes.follow(authorization.reading.epoch, known=known)
            if not self._clients.is_current(client):
                client = await self._clients.authenticate(credentials, source)
                _check_permission(grant, client)
                grant_request = _apply_client_policy(grant, client, parameters, form, source, self._issuer_url)
            response = await self._deliver(authorization, grant_request)
            # 10. What follows, now that nothing else can fail.
            await grant.complete(authorization, grant_request)
        except (Exception, asyncio.CancelledError):
            # A request is cancelled when it is still served at the end of a graceful stop.
            await _undo(grant, authorization)
            raise
        return response

    async def _deliver(self, authorization: Authorization, request: GrantRequest) -> Response:
        # 7. Restrict what was stored to what the client may have now. What `authorize` has settled is refused only if the
        # client was changed at the same time.
        authorization = self._restrict(authorization, request)
        # 8. Issue.
        tokens = await self._issuer.issue(authorization)
        # 9. Respond.
        response = self._respond(tokens, request.client)
        sub, sid = authorization.subject, authorization.session_id
        current_record().set_outcome(Outcome.TOKEN_ISSUED, sub=sub, sid=sid, jti=tokens.token_id)
        return response

    def _restrict(self, authorization: Authorization, request: GrantRequest) -> Authorization:
        scopes = authorization.scopes & request.scopes
        audiences = tuple(audience for audience in authorization.audiences if audience in request.audiences)
        if authorization.scopes and not scopes:
            raise InvalidScope("This client may no longer have any of these scopes.")
        if not audiences:
            raise InvalidTarget("This client may no longer have tokens for any of these audiences.")
        can_refresh = RefreshTokenGrant.name in request.client.grants and RefreshTokenGrant.name in self._grants
        refresh_token = authorization.refresh_token if can_refresh else None
        if (scopes, audiences, refresh_token) == (
            authorization.scopes, authorization.audiences, authorization.refresh_token,
        ):  # fmt: skip
            return authorization
        return replace(authorization, scopes=scopes, audiences=audiences, refresh_token=refresh_token)

    def _respond(self, tokens: TokenResponse, client: Client) -> Response:
        if not client.refresh_cookie or tokens.refresh_token is None:
            return FastJSONResponse(tokens.to_json(), headers=NO_STORE)
        response = FastJSONResponse(replace(tokens, refresh_token=None).to_json(), headers=NO_STORE)
        self._cookies.set(response, client, tokens.refresh_token)
        return response

    def _known_grant_type(self, parameters: Mapping[str, str]) -> str | None:
        grant_type = parameters.get("grant_type")
        return grant_type if grant_type in self._grants else None


def _form_rules(registry: GrantRegistry) -> FormRules:
    parameters = [parameter for _, parameter in registry.parameters]
    return FormRules(
        names=NAMES | {one.name for one in parameters},
        opaque=frozenset(one.name for one in parameters if one.text is ParameterText.OPAQUE),
        credentials=frozenset(one.name for one in parameters if one.text is ParameterText.CREDENTIAL),
        repeatable=frozenset(one.name for one in parameters if one.repeatable),
    )


def _check_permission(grant: Grant, client: Client) -> None:
    if grant.name not in client.grants or (grant.confidential_only and not client.confidential):
        raise UnauthorizedClient


def _check_parameters(grant: Grant, parameters: Mapping[str, str], form: Form) -> None:
    """Raise InvalidRequest for a parameter that is missing, or that another grant alone may repeat."""
    for parameter in grant.parameters:
        if parameter.required and parameter.name not in parameters:
            raise InvalidRequest(f"The parameter {parameter.name} is missing.")
    if form.repeated:
        repeatable = {parameter.name for parameter in grant.parameters if parameter.repeatable}
        if any(len(values) > 1 and name not in repeatable for name, values in form.repeated.items()):
            raise InvalidRequest("A parameter is repeated.")


def _apply_client_policy(
    grant: Grant, client: Client, parameters: Mapping[str, str], form: Form, source: RequestSource, issuer_url: str
) -> GrantRequest:
    requested = parse_scope(parameters.get("scope", ""))
    scopes = requested & client.scopes if requested else client.scopes
    if requested and not scopes:
        raise InvalidScope("This client may have none of the requested scopes.")
    issuer_audience = client.issuer_audience(issuer_url)
    resources, resource = client.resources + issuer_audience, parameters.get("resource")
    if resource is not None and resource not in resources:
        raise InvalidTarget
    audiences = () if resource is None else (resource,)
    is_stored = grant.scopes_from is ScopeSource.STORED
    return GrantRequest(
        client=client,
        parameters=parameters,
        repeated=form.repeated,
        requested_scopes=requested,
        scopes=scopes,
        requested_audiences=audiences,
        audiences=audiences or (resources if is_stored else client.default_resources),
        issuer_audience=issuer_audience,
        source=source,
    )


async def _undo(grant: Grant, authorization: Authorization) -> None:
    try:
        await grant.undo(authorization)
    except Exception as error:
        # The grace period remains: within it the same request gets the same refresh token.
        log.warning("grant.not_undone", sid=authorization.session_id, error_locations=error_locations(error))
