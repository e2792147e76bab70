"""The caller's own sessions: list them, revoke this one, another one, or all others."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal, ResourceServer
from authmint.errors import InvalidGrant, InvalidRequest, TemporarilyUnavailable
from authmint_service.endpoints.account.current_session import require_live_session, session_id_of
from authmint_service.endpoints.account.session_proof import (
    PROOF_DESCRIPTION,
    PROOF_PARAMETER,
    SessionProofs,
    invalid_proof_response,
)
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.paging import AskedPage, PageRequest
from authmint_service.endpoints.requests import actor_of, request_source
from authmint_service.endpoints.responses import (
    BEARER_RESPONSES,
    describe_form,
    invalid_form_response,
    problem_response,
    problem_responses,
    unavailable_response,
)
from authmint_service.endpoints.session_schemas import MySession, MySessionPage, ThisSession, position_of
from authmint_service.sentences import sentence_for
from authmint_service.sessions import AccountSessions, EndCause, Sessions

log = structlog.get_logger(__name__)

PATH = "/account/v1/sessions"

SCHEMAS: dict[str, dict[str, Any]] = {
    "OtherSessionsRevocation": {
        "type": "object",
        "properties": {"refresh_token": PROOF_PARAMETER},
    },
}


class MySessionsEndpoints:
    """Routes under `/account/v1/sessions`."""

    def __init__(self, sessions: Sessions, of_account: AccountSessions, proofs: SessionProofs, auth: ResourceServer) -> None:
        self._sessions, self._of_account, self._proofs, self._auth = sessions, of_account, proofs, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["account"], responses=BEARER_RESPONSES)
        user = Annotated[Principal, self._auth.user.requires()]

        async def list_my_sessions(principal: user, page: AskedPage) -> MySessionPage:
            return await self._list(principal, page)

        async def revoke_my_current_session(request: Request, principal: user) -> Response:
            await self._revoke(request, session_id_of(principal), principal, EndCause.SIGNED_OUT)
            return Response(status_code=204)

        async def revoke_my_session(request: Request, session_id: UUID, principal: user) -> Response:
            await require_live_session(self._sessions, principal)
            if await self._revoke(request, str(session_id), principal, EndCause.SIGNED_OUT_ELSEWHERE):
                return Response(status_code=204)
            return problem_response(404, "not_found", sentence_for("my_session_not_found", {}))

        async def revoke_my_other_sessions(request: Request, principal: user) -> Response:
            return await self._revoke_others(request, principal)

        router.add_api_route(
            PATH, list_my_sessions, methods=["GET"], response_model=MySessionPage, operation_id="listMySessions",
            summary="Where am I signed in?", responses=problem_responses(422),
        )  # fmt: skip
        # Before the route with a parameter, which would match as well.
        router.add_api_route(
            f"{PATH}/current", revoke_my_current_session, methods=["DELETE"], status_code=204,
            operation_id="revokeMyCurrentSession", summary="Sign out here",
        )  # fmt: skip
        router.add_api_route(
            f"{PATH}/revoke-others", revoke_my_other_sessions, methods=["POST"], response_model=ThisSession,
            operation_id="revokeMyOtherSessions", summary="Sign out everywhere else", description=PROOF_DESCRIPTION,
            openapi_extra=describe_form("OtherSessionsRevocation", required=False),
        )  # fmt: skip
        router.add_api_route(
            PATH + "/{session_id}", revoke_my_session, methods=["DELETE"], status_code=204, operation_id="revokeMySession",
            summary="Sign out there", responses=problem_responses(404, 422),
        )  # fmt: skip
        return router

    async def _list(self, principal: Principal, page: PageRequest) -> MySessionPage:
        current = await require_live_session(self._sessions, principal)
        found = await self._sessions.list_for_account(principal.sub, limit=page.limit + 1, after=page.after)
        sessions, next_cursor = page.cut(found, position_of)
        items = [MySession.from_summary(session, current=session.id == current) for session in sessions]
        return MySessionPage(items=items, next_cursor=next_cursor)

    async def _revoke(self, request: Request, session_id: str, principal: Principal, cause: EndCause) -> bool:
        actor, source = actor_of(principal), request_source(request)
        revoked = await self._sessions.revoke(session_id, account_id=principal.sub, cause=cause, actor=actor, source=source)
        if revoked:
            log.info("session.revoked", sub=principal.sub, sid=session_id, actor="account")
        return revoked

    async def _revoke_others(self, request: Request, principal: Principal) -> Response:
        session_id = await require_live_session(self._sessions, principal)
        actor, source, cause = actor_of(principal), request_source(request), EndCause.SIGNED_OUT_ELSEWHERE
        try:
            # A page whose token is in its cookie has nothing to send in a body.
            form = await read_form(request) if "content-type" in request.headers else {}
            presented = await self._proofs.read(request, form, principal, session_id)
            # Made before the change: after it, the refresh token that was presented is worth nothing.
            response = self._proofs.respond(presented)
            if presented.proof is None:
                await self._of_account.revoke_all(principal.sub, cause=cause, actor=actor, source=source)
            else:
                await self._of_account.revoke_others(principal.sub, presented.proof, cause=cause, actor=actor, source=source)
        except InvalidRequest as error:
            return invalid_form_response(error)
        except InvalidGrant as error:
            return invalid_proof_response(error)
        except TemporarilyUnavailable as error:
            return unavailable_response(error)
        extent = "all" if presented.proof is None else "others"
        log.info("sessions.revoked", sub=principal.sub, extent=extent, actor="account")
        return response
