"""Sessions of any account, for services that act for an operator. A user's token never suffices."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal, ResourceServer
from authmint_service.endpoints.paging import AskedPage
from authmint_service.endpoints.requests import actor_of, record_principal, request_source
from authmint_service.endpoints.responses import BEARER_RESPONSES, problem_response, problem_responses
from authmint_service.endpoints.session_schemas import Session, SessionPage, position_of
from authmint_service.sentences import sentence_for
from authmint_service.sessions import AccountSessions, EndCause, Sessions

READ_SCOPE, WRITE_SCOPE = "admin:sessions:read", "admin:sessions:write"
PATH = "/admin/v1/accounts/{account_id}/sessions"

log = structlog.get_logger(__name__)


class AccountSessionsEndpoints:
    """Routes under `/admin/v1/accounts/{account_id}/sessions`."""

    def __init__(self, sessions: Sessions, of_account: AccountSessions, auth: ResourceServer) -> None:
        self._sessions, self._of_account, self._auth = sessions, of_account, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["admin"], responses=BEARER_RESPONSES)
        reader = Annotated[Principal, self._auth.service.requires(READ_SCOPE)]
        writer = Annotated[Principal, self._auth.service.requires(WRITE_SCOPE)]

        async def list_account_sessions(account_id: UUID, principal: reader, page: AskedPage) -> SessionPage:
            record_principal(principal)
            found = await self._sessions.list_for_account(str(account_id), limit=page.limit + 1, after=page.after)
            sessions, next_cursor = page.cut(found, position_of)
            return SessionPage(items=[Session.from_summary(session) for session in sessions], next_cursor=next_cursor)

        async def revoke_account_session(request: Request, account_id: UUID, session_id: UUID, principal: writer) -> Response:
            record_principal(principal)
            revoked = await self._sessions.revoke(
                str(session_id), account_id=str(account_id), cause=EndCause.OPERATOR, actor=actor_of(principal),
                source=request_source(request),
            )  # fmt: skip
            if revoked:
                log.info("session.revoked", sub=str(account_id), sid=str(session_id), actor=_actor(principal))
                return Response(status_code=204)
            return problem_response(404, "not_found", sentence_for("account_session_not_found", {}))

        async def revoke_account_sessions(request: Request, account_id: UUID, principal: writer) -> Response:
            record_principal(principal)
            await self._of_account.revoke_all(
                str(account_id), cause=EndCause.OPERATOR, actor=actor_of(principal), source=request_source(request)
            )
            log.info("sessions.revoked", sub=str(account_id), extent="all", actor=_actor(principal))
            return Response(status_code=204)

        options: dict[str, Any] = {"responses": problem_responses(422)}
        router.add_api_route(
            PATH, list_account_sessions, methods=["GET"], response_model=SessionPage, operation_id="listAccountSessions",
            summary="Where is this user signed in?", **options,
        )  # fmt: skip
        router.add_api_route(
            PATH, revoke_account_sessions, methods=["DELETE"], status_code=204, operation_id="revokeAccountSessions",
            summary="Sign this user out everywhere", **options,
        )  # fmt: skip
        router.add_api_route(
            PATH + "/{session_id}", revoke_account_session, methods=["DELETE"], status_code=204,
            operation_id="revokeAccountSession", summary="Sign this user out there", responses=problem_responses(404, 422),
        )  # fmt: skip
        return router


def _actor(principal: Principal) -> str:
    return f"administrator {principal.client_id}"
