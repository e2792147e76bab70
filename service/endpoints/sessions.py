"""Where am I signed in, and sign out there: the sessions of the person who asks, and the password that starts them."""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from mintmark import Principal, ResourceServer
from mintmark.challenge import refusal
from mintmark.errors import InvalidRequest, InvalidToken, TemporarilyUnavailable
from service.endpoints.answers import WITH_TOKEN, error_answer, refusals
from service.endpoints.forms import read_form
from service.endpoints.requests import tell_caller
from service.endpoints.token_openapi import PASSWORD_FORM
from service.errors import Invalid
from service.sessions import Sessions, SessionSummary
from service.users import PasswordChange, WrongPassword

log = structlog.get_logger("service.sessions")


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
    started_from: str | None
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
            started_from=session.started_from,
            **more,
        )


class SessionOfMine(SessionOfSomebody):
    """One of the sessions of whoever asks."""

    current: bool
    """The one that this request comes from."""


class SessionEndpoints:
    """Answers `/logout`, `/users/me/sessions`, `/users/{id}/sessions` and `/users/me/password`."""

    def __init__(self, sessions: Sessions, passwords: PasswordChange, auth: ResourceServer) -> None:
        self._sessions, self._passwords, self._auth = sessions, passwords, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["sessions"], responses=WITH_TOKEN)
        person = Annotated[Principal, self._auth.user.requires()]

        async def logout(who: person) -> Response:
            await self._end(_session_of(who), who, by="logout")
            return Response(status_code=204)

        async def list_sessions(who: person) -> list[SessionOfMine]:
            return await self._list(who)

        async def end_session(session_id: UUID, who: person) -> Response:
            await self._live_session_of(who)
            if await self._end(str(session_id), who, by="its person"):
                return Response(status_code=204)
            return error_answer(404, "not_found", "You have no session with this id, or it has ended already.")

        async def end_others(who: person) -> Response:
            await self._sessions.end_others(who.sub, kept=await self._live_session_of(who))
            log.info("other sessions ended", sub=who.sub)
            return Response(status_code=204)

        async def change_password(request: Request, who: person) -> Response:
            return await self._change_password(request, who)

        mine = "/users/me/sessions"
        router.add_api_route("/logout", logout, methods=["POST"], status_code=204, summary="Sign out here")
        router.add_api_route(mine, list_sessions, methods=["GET"], summary="Where am I signed in?")
        router.add_api_route(mine, end_others, methods=["DELETE"], status_code=204, summary="Sign out everywhere else")
        router.add_api_route(
            mine + "/{session_id}", end_session, methods=["DELETE"], status_code=204, summary="Sign out there",
            responses=refusals(404, 422),
        )  # fmt: skip
        router.add_api_route(
            "/users/me/password", change_password, methods=["PUT"], status_code=204, openapi_extra=PASSWORD_FORM,
            summary="Change my password, and sign out everywhere else", responses=refusals(422),
        )  # fmt: skip
        self._add_routes_for_administrators(router)
        return router

    def _add_routes_for_administrators(self, router: APIRouter) -> None:
        administrator = Annotated[Principal, self._auth.machine.requires(ADMIN_SCOPE)]

        async def list_sessions(user_id: UUID, who: administrator) -> list[SessionOfSomebody]:
            tell_caller(who)
            return [SessionOfSomebody.of(session) for session in await self._sessions.of(str(user_id))]

        async def end_session(user_id: UUID, session_id: UUID, who: administrator) -> Response:
            tell_caller(who)
            if await self._sessions.end(str(session_id), user_id=str(user_id)):
                log.info("session ended", sub=str(user_id), sid=str(session_id), by=f"administrator {who.client_id}")
                return Response(status_code=204)
            return error_answer(404, "not_found", "This person has no session with this id, or it has ended already.")

        async def end_all(user_id: UUID, who: administrator) -> Response:
            tell_caller(who)
            await self._sessions.end_others(str(user_id), kept=None)
            log.info("all sessions ended", sub=str(user_id), by=f"administrator {who.client_id}")
            return Response(status_code=204)

        theirs = "/users/{user_id}/sessions"
        router.add_api_route(
            theirs, list_sessions, methods=["GET"], summary="Where is this person signed in?", responses=refusals(422)
        )
        router.add_api_route(
            theirs, end_all, methods=["DELETE"], status_code=204, summary="Sign this person out everywhere",
            responses=refusals(422),
        )  # fmt: skip
        router.add_api_route(
            theirs + "/{session_id}", end_session, methods=["DELETE"], status_code=204, summary="Sign this person out there",
            responses=refusals(404, 422),
        )  # fmt: skip

    async def _change_password(self, request: Request, who: Principal) -> Response:
        kept = await self._live_session_of(who)
        try:
            form = await read_form(request)
            current, new = form.get("current_password", ""), form.get("new_password", "")
            await self._passwords.change(who.sub, current=current, new=new, kept_session=kept)
        except InvalidRequest as error:
            return error_answer(400, error.error, error.description)
        except WrongPassword:
            log.info("password not changed", sub=who.sub, reason="the current one is wrong")
            return error_answer(403, "wrong_password", "The current password is another one.")
        except Invalid as error:
            return error_answer(422, "invalid_password", str(error))
        except TemporarilyUnavailable as error:
            return error_answer(503, error.error, error.description, {"Retry-After": str(error.retry_after)})
        log.info("password changed, other sessions ended", sub=who.sub, sid=kept)
        return Response(status_code=204)

    async def _list(self, who: Principal) -> list[SessionOfMine]:
        current = await self._live_session_of(who)
        return [SessionOfMine.of(session, current=session.id == current) for session in await self._sessions.of(who.sub)]

    async def _end(self, session_id: str, who: Principal, *, by: str) -> bool:
        ended = await self._sessions.end(session_id, user_id=who.sub)
        if ended:
            log.info("session ended", sub=who.sub, sid=session_id, by=by)
        return ended

    async def _live_session_of(self, who: Principal) -> str:
        # Elsewhere an access token is good until it expires. Here the row can be asked, so whoever was signed out is out.
        session_id = _session_of(who)
        if not await self._sessions.is_live(session_id):
            raise refusal(InvalidToken("session_ended"))
        return session_id


def _session_of(who: Principal) -> str:
    tell_caller(who)
    if who.session_id is None:
        raise refusal(InvalidToken("missing_sid"))
    return who.session_id
