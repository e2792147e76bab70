"""Where am I signed in, and sign out there: the sessions of the person who asks, and the password that starts them."""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal, ResourceServer
from authmint.challenge import to_http_error
from authmint.errors import InvalidRequest, InvalidToken, TemporarilyUnavailable
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.oauth.openapi import PASSWORD_FORM
from authmint_service.endpoints.requests import record_principal
from authmint_service.endpoints.responses import BEARER_RESPONSES, problem_response, problem_responses
from authmint_service.errors import InvalidValue
from authmint_service.passwords import PasswordChange, WrongPassword
from authmint_service.sessions import EndCause, Sessions, SessionSummary

log = structlog.get_logger(__name__)


ADMIN_SCOPE = "sessions:admin"
"""For services that act for whoever runs this: they see and end anybody's sessions. A person's token never suffices."""


class SessionOfSomebody(BaseModel):
    """One sign-in on one device."""

    id: str
    client_id: str
    client_name: str
    started_at: datetime
    last_used_at: datetime
    expires_at: datetime
    """Unless it is used before."""
    ip_address: str | None
    """The address of whoever signed in, as this service saw it."""

    @classmethod
    def of(cls, session: SessionSummary, **more: object) -> Self:
        return cls(
            id=session.id,
            client_id=session.client_id,
            client_name=session.client_name,
            started_at=datetime.fromtimestamp(session.started_at, UTC),
            last_used_at=datetime.fromtimestamp(session.last_used_at, UTC),
            expires_at=datetime.fromtimestamp(session.expires_at, UTC),
            ip_address=session.ip_address,
            **more,
        )


class SessionOfMine(SessionOfSomebody):
    """One of the sessions of whoever asks."""

    current: bool
    """The one that this request comes from."""


class SessionEndpoints:
    """Answers `/logout`, `/account/v1/sessions`, `/admin/v1/accounts/{id}/sessions` and `/account/v1/password`."""

    def __init__(self, sessions: Sessions, passwords: PasswordChange, auth: ResourceServer) -> None:
        self._sessions, self._passwords, self._auth = sessions, passwords, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["sessions"], responses=BEARER_RESPONSES)
        person = Annotated[Principal, self._auth.user.requires()]

        async def logout(who: person) -> Response:
            await self._end(_session_of(who), who, by="logout", cause=EndCause.SIGNED_OUT)
            return Response(status_code=204)

        async def list_sessions(who: person) -> list[SessionOfMine]:
            return await self._list(who)

        async def end_session(session_id: UUID, who: person) -> Response:
            await self._live_session_of(who)
            if await self._end(str(session_id), who, by="its person", cause=EndCause.SIGNED_OUT_ELSEWHERE):
                return Response(status_code=204)
            return problem_response(404, "not_found", "You have no session with this id, or it has ended already.")

        async def end_others(who: person) -> Response:
            await self._sessions.revoke_others(who.sub, except_id=await self._live_session_of(who))
            log.info("sessions.revoked", sub=who.sub, extent="others")
            return Response(status_code=204)

        async def change_password(request: Request, who: person) -> Response:
            return await self._change_password(request, who)

        mine = "/account/v1/sessions"
        router.add_api_route("/logout", logout, methods=["POST"], status_code=204, summary="Sign out here")
        router.add_api_route(mine, list_sessions, methods=["GET"], summary="Where am I signed in?")
        router.add_api_route(mine, end_others, methods=["DELETE"], status_code=204, summary="Sign out everywhere else")
        router.add_api_route(
            mine + "/{session_id}", end_session, methods=["DELETE"], status_code=204, summary="Sign out there",
            responses=problem_responses(404, 422),
        )  # fmt: skip
        router.add_api_route(
            "/account/v1/password", change_password, methods=["PUT"], status_code=204, openapi_extra=PASSWORD_FORM,
            summary="Change my password, and sign out everywhere else", responses=problem_responses(422),
        )  # fmt: skip
        self._add_routes_for_administrators(router)
        return router

    def _add_routes_for_administrators(self, router: APIRouter) -> None:
        administrator = Annotated[Principal, self._auth.service.requires(ADMIN_SCOPE)]

        async def list_sessions(account_id: UUID, who: administrator) -> list[SessionOfSomebody]:
            record_principal(who)
            return [SessionOfSomebody.of(session) for session in await self._sessions.list_for_account(str(account_id))]

        async def end_session(account_id: UUID, session_id: UUID, who: administrator) -> Response:
            record_principal(who)
            if await self._sessions.revoke(str(session_id), account_id=str(account_id), cause=EndCause.OPERATOR):
                log.info("session.revoked", sub=str(account_id), sid=str(session_id), actor=f"administrator {who.client_id}")
                return Response(status_code=204)
            return problem_response(404, "not_found", "This person has no session with this id, or it has ended already.")

        async def end_all(account_id: UUID, who: administrator) -> Response:
            record_principal(who)
            await self._sessions.revoke_others(str(account_id), except_id=None, cause=EndCause.OPERATOR)
            log.info("sessions.revoked", sub=str(account_id), extent="all", actor=f"administrator {who.client_id}")
            return Response(status_code=204)

        theirs = "/admin/v1/accounts/{account_id}/sessions"
        router.add_api_route(
            theirs, list_sessions, methods=["GET"], summary="Where is this person signed in?", responses=problem_responses(422)
        )
        router.add_api_route(
            theirs, end_all, methods=["DELETE"], status_code=204, summary="Sign this person out everywhere",
            responses=problem_responses(422),
        )  # fmt: skip
        router.add_api_route(
            theirs + "/{session_id}", end_session, methods=["DELETE"], status_code=204, summary="Sign this person out there",
            responses=problem_responses(404, 422),
        )  # fmt: skip

    async def _change_password(self, request: Request, who: Principal) -> Response:
        kept = await self._live_session_of(who)
        try:
            form = await read_form(request)
            current, new = form.get("current_password", ""), form.get("new_password", "")
            await self._passwords.change(who.sub, current=current, new=new, except_session_id=kept)
        except InvalidRequest as error:
            return problem_response(400, error.error, error.description)
        except WrongPassword:
            log.info("password.change_refused", sub=who.sub, reason="the current one is wrong")
            return problem_response(403, "wrong_password", "The current password is another one.")
        except InvalidValue as error:
            return problem_response(422, "invalid_password", str(error))
        except TemporarilyUnavailable as error:
            return problem_response(503, error.error, error.description, {"Retry-After": str(error.retry_after)})
        log.info("password.changed", sub=who.sub, sid=kept)
        return Response(status_code=204)

    async def _list(self, who: Principal) -> list[SessionOfMine]:
        current = await self._live_session_of(who)
        return [
            SessionOfMine.of(session, current=session.id == current)
            for session in await self._sessions.list_for_account(who.sub)
        ]

    async def _end(self, session_id: str, who: Principal, *, by: str, cause: EndCause) -> bool:
        ended = await self._sessions.revoke(session_id, account_id=who.sub, cause=cause)
        if ended:
            log.info("session.revoked", sub=who.sub, sid=session_id, actor=by)
        return ended

    async def _live_session_of(self, who: Principal) -> str:
        # Elsewhere an access token is good until it expires. Here the row can be asked, so whoever was signed out is out.
        session_id = _session_of(who)
        if not await self._sessions.is_live(session_id):
            raise to_http_error(InvalidToken("session_revoked"))
        return session_id


def _session_of(who: Principal) -> str:
    record_principal(who)
    if who.session_id is None:
        raise to_http_error(InvalidToken("missing_sid"))
    return who.session_id
