"""Whether the process runs (`/livez`) and whether it can serve (`/readyz`)."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from service.errors import DatabaseUnavailable, SchemaBehind

SECONDS = 1.5
NO_STORE = {"Cache-Control": "no-store"}


class HealthEndpoints:
    """Answers probes. `why_not_ready` asks the parts, and names the first that is missing; None when all are there."""

    def __init__(
        self, why_not_ready: Callable[[], Awaitable[str | None]], warn: Callable[[], str | None] = lambda: None
    ) -> None:
        """`warn`: what somebody should look at, although it serves."""
        self._why_not_ready, self._warn = why_not_ready, warn

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        for path, answer, question in (
            ("/livez", self.live, "Does the process run?"),
            ("/readyz", self.ready, "Can it serve?"),
        ):
            router.add_api_route(path, answer, methods=["GET"], summary=question, response_model=None)
            router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, response_model=None)
        return router

    async def live(self) -> JSONResponse:
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    async def ready(self) -> JSONResponse:
        try:
            async with asyncio.timeout(SECONDS):
                reason = await self._why_not_ready()
        except (TimeoutError, DatabaseUnavailable):
            reason = "The database does not answer."
        except SchemaBehind:
            reason = "The database has not been migrated. Run: mintmark-service migrate"
        warning = self._warn()
        warned = {} if warning is None else {"warning": warning}
        if reason is None:
            return JSONResponse({"status": "ready", **warned}, headers=NO_STORE)
        content = {"status": "not ready", "reason": reason, **warned}
        return JSONResponse(content, 503, {**NO_STORE, "Retry-After": "1"})
