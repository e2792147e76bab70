"""Where am I signed in, and sign out there: the sessions of the person who asks."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from mintmark import Principal, ResourceServer
from mintmark.challenge import refusal
from mintmark.errors import InvalidToken
from service.endpoints.answers import error_answer
from service.sessions import Sessions

log = structlog.get_logger("service.sessions")


class SessionOfMine(BaseModel):
    """One sign-in on one device."""

    id: str
    current: bool
    """The one that this request comes from."""
    client_id: str
    client_name: str
    started_at: datetime
    last_used_at: datetime
    expires_at: datetime
    """Unless it is used before."""


class SessionEndpoints:
    """Answers `/logout` and `/users/me/sessions`."""

    def __init__(self, sessions: Sessions, auth: ResourceServer) -> None:
        self._sessions, self._auth = sessions, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["sessions"])
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

        mine = "/users/me/sessions"
        router.add_api_route("/logout", logout, methods=["POST"], status_code=204, summary="Sign out here")
        router.add_api_route(mine, list_sessions, methods=["GET"], summary="Where am I signed in?")
        router.add_api_route(mine, end_others, methods=["DELETE"], status_code=204, summary="Sign out everywhere else")
        router.add_api_route(mine + "/{session_id}", end_session, methods=["DELETE"], status_code=204, summary="Sign out there")
        return router

    async def _list(self, who: Principal) -> list[SessionOfMine]:
        current = await self._live_session_of(who)
        return [
            SessionOfMine(
                id=session.id,
                current=session.id == current,
                client_id=session.client_id,
                client_name=session.client_name,
                started_at=datetime.fromtimestamp(session.started_at, UTC),
                last_used_at=datetime.fromtimestamp(session.last_used_at, UTC),
                expires_at=datetime.fromtimestamp(session.expires_at, UTC),
            )
            for session in await self._sessions.of(who.sub)
        ]

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
    if who.session_id is None:
        raise refusal(InvalidToken("missing_sid"))
    return who.session_id
