"""The revocation list. It is public: ids of sessions are no secrets, and give no access."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import TemporarilyUnavailable
from authmint_service.draining import Draining
from authmint_service.endpoints.field_errors import rule_error
from authmint_service.endpoints.responses import invalid_fields_response, problem_responses, unavailable_response
from authmint_service.request_log import current_record
from authmint_service.tokens import RevocationListPublisher

MAX_WAIT_SECONDS = 10
POLL_SECONDS = 0.5
MEDIA_TYPE = "application/revocation-list+jwt"


class RevocationListEndpoint:
    """`GET /revocation-list`."""

    def __init__(self, lists: RevocationListPublisher, draining: Draining) -> None:
        """`draining`: a process that is about to stop delays no response."""
        self._lists, self._draining = lists, draining

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"])
        router.add_api_route(
            "/revocation-list", self.get_revocation_list, operation_id="getRevocationList", response_class=Response,
            summary="What was revoked, signed",
            responses={
                200: {"description": "A signed list.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
                304: {"description": "Nothing has changed."},
                **problem_responses(422, 503),
            },
        )  # fmt: skip
        return router

    async def get_revocation_list(
        self, request: Request, wait: Annotated[int, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0
    ) -> Response:
        """With `If-None-Match` and `wait`, the response is delayed while nothing changes, for `wait` seconds at most."""
        if len(request.query_params.getlist("wait")) > 1:
            return invalid_fields_response([rule_error("wait", "repeated")])
        try:
            current = await self._lists.current()
            ends_at = asyncio.get_running_loop().time() + wait
            known = request.headers.get("if-none-match")
            while current.tag == known and asyncio.get_running_loop().time() < ends_at:
                await asyncio.sleep(POLL_SECONDS)
                current = await self._lists.current()
                if self._draining.has_begun:
                    break
        except TemporarilyUnavailable as error:
            return unavailable_response(error)
        # A follower asks again at once, all day.
        current_record().is_routine = wait > 0
        headers = {"ETag": current.tag, "Cache-Control": "no-store" if wait else "public, max-age=1"}
        if current.tag == known:
            return Response(status_code=304, headers=headers)
        return Response(current.text, media_type=MEDIA_TYPE, headers=headers)
