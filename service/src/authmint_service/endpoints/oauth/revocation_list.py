"""The list of ended sessions, which anyone may read: ids of sessions are no secrets, and open no door."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import TemporarilyUnavailable
from authmint_service.draining import Draining
from authmint_service.endpoints.responses import problem_response, problem_responses
from authmint_service.tokens import RevocationListPublisher

LONGEST_WAIT = 10
POLL_SECONDS = 0.5
MEDIA_TYPE = "application/revocation-list+jwt"


class RevocationEndpoint:
    """Answers `GET /revocation-list`."""

    def __init__(self, lists: RevocationListPublisher, draining: Draining) -> None:
        """`draining`: a process that was told to stop holds no answer back."""
        self._lists, self._draining = lists, draining

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"])
        router.add_api_route(
            "/revocation-list", self.answer, response_class=Response, summary="The sessions that were ended, signed",
            responses={
                200: {"description": "A signed list.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
                304: {"description": "Nothing has changed."},
                **problem_responses(422, 503),
            },
        )  # fmt: skip
        return router

    async def answer(self, request: Request, wait: Annotated[int, Query(ge=0, le=LONGEST_WAIT)] = 0) -> Response:
        """With `If-None-Match` and `wait`, the answer is held back for so many seconds while nothing changes."""
        if len(request.query_params.getlist("wait")) > 1:
            return problem_response(422, "invalid_request", "The parameter wait is repeated.")
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
            return problem_response(503, error.error, error.description, {"Retry-After": str(error.retry_after)})
        headers = {"ETag": current.tag, "Cache-Control": "no-store" if wait else "public, max-age=1"}
        if current.tag == known:
            return Response(status_code=304, headers=headers)
        return Response(current.text, media_type=MEDIA_TYPE, headers=headers)
