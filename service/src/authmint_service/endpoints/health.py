"""Whether the process runs (`/livez`) and whether it can serve (`/readyz`)."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from authmint_service.readiness import UNREACHABLE, CheckResult, Readiness

SECONDS = 1.5
NO_STORE = {"Cache-Control": "no-store"}


class HealthEndpoints:
    """Answers probes. `/livez` asks nothing but the loop: a database that is away is no reason to kill a process."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        not_ready: dict[int | str, dict[str, Any]] = {
            503: {"description": "Not yet, or not now; `message` of a check says what to do."}
        }
        for path, answer, question, others in (
            ("/livez", self.live, "Does the process run?", {}),
            ("/readyz", self.ready, "Can it serve?", not_ready),
        ):
            router.add_api_route(path, answer, methods=["GET"], summary=question, response_model=None, responses=others)
            router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, response_model=None)
        return router

    async def live(self) -> JSONResponse:
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    async def ready(self) -> JSONResponse:
        try:
            async with asyncio.timeout(SECONDS):
                results = await self._readiness.check()
        except TimeoutError:
            results = {"database": UNREACHABLE}
        is_ready = not any(result.blocks_serving for result in results.values())
        checks = {name: _members(result) for name, result in results.items()}
        content = {"status": "ready" if is_ready else "not_ready", "checks": checks}
        if is_ready:
            return JSONResponse(content, headers=NO_STORE)
        return JSONResponse(content, 503, {**NO_STORE, "Retry-After": "1"})


def _members(result: CheckResult) -> dict[str, Any]:
    members = {"status": result.status, "message": result.message, "version": result.version}
    return {name: value for name, value in members.items() if value is not None}
