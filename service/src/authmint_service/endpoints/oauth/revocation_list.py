"""The revocation list. It is public: ids of sessions are no secrets, and give no access."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from authmint.claims import MAX_TIME
from authmint.errors import TemporarilyUnavailable
from authmint_service.endpoints.field_errors import rule_error
from authmint_service.endpoints.responses import invalid_fields_response, problem_responses, unavailable_response
from authmint_service.request_log import current_record
from authmint_service.tokens import RevocationListPublisher

MAX_WAIT_SECONDS = 10
MAX_WAITING = 500
"""Followers that wait in this process. Each holds a connection, and all are answered at the same moment."""
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 3, 7
"""How long a follower is asked to pause when MAX_WAITING others wait: not all as long, so that they do not come back together.
It gets the current list all the same."""
MEDIA_TYPE = "application/revocation-list+jwt"


class RevocationListEndpoint:
    """`GET /revocation-list`."""

    def __init__(self, lists: RevocationListPublisher) -> None:
        self._lists = lists
        self.waiting = self.turned_away = 0
        """Followers that wait, and how many could not since the start."""

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"])
        content = {MEDIA_TYPE: {"schema": {"type": "string"}}}
        router.add_api_route(
            "/revocation-list", self.get_revocation_list, operation_id="getRevocationList", response_class=Response,
            summary="What was revoked, signed",
            responses={200: {"description": "A signed list.", "content": content}, **problem_responses(422, 503)},
        )  # fmt: skip
        return router

    async def get_revocation_list(
        self,
        request: Request,
        since: Annotated[int | None, Query(ge=0, le=MAX_TIME * 1000 + 999)] = None,
        wait: Annotated[int, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0,
    ) -> Response:
        """With `since`, the serial of a list, the response may be a delta; with `wait` it is delayed for as many seconds while
        there is nothing newer.
        """
        repeated = [name for name in ("since", "wait") if len(request.query_params.getlist(name)) > 1]
        if repeated:
            return invalid_fields_response([rule_error(name, "repeated") for name in repeated])
        headers = {"Cache-Control": "no-store"}
        if since is not None and wait > 0:
            # A follower asks again at once, all day.
            current_record().is_routine = True
            if self.waiting >= MAX_WAITING:
                self.turned_away += 1
                pause = MIN_RETRY_SECONDS + self.turned_away % (MAX_RETRY_SECONDS - MIN_RETRY_SECONDS + 1)
                headers["Retry-After"] = str(pause)
            else:
                await self._wait(since, wait)
        try:
            return Response(await self._lists.document(since), media_type=MEDIA_TYPE, headers=headers)
        except TemporarilyUnavailable as error:
            return unavailable_response(error)

    async def _wait(self, since: int, seconds: int) -> None:
        self.waiting += 1
        try:
            await self._lists.wait(since, seconds)
        finally:
            self.waiting -= 1
