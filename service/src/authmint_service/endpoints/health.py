"""Whether the process runs (`/livez`) and whether it can serve (`/readyz`)."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from authmint_service.readiness import AWAY, CheckResult, Readiness

SECONDS = 1.5
NO_STORE = {"Cache-Control": "no-store"}


class HealthEndpoints:
    """Answers probes. `/livez` asks nothing but the loop: a database that is away is no reason to kill a process."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "Not yet, or not now; `reason` says what to do."}}
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
                findings = await self._readiness.look()
        except TimeoutError:
            findings = {"pool": AWAY}
        parts = {part: _told(finding) for part, finding in findings.items()}
        advice = [finding.advice for finding in findings.values() if not finding.blocks_serving and finding.advice]
        warned = {"warning": advice[0]} if advice else {}
        missing = [finding.advice for finding in findings.values() if finding.blocks_serving]
        if not missing:
            return JSONResponse({"status": "ready", **warned, **parts}, headers=NO_STORE)
        content = {"status": "not ready", "reason": missing[0], **warned, **parts}
        return JSONResponse(content, 503, {**NO_STORE, "Retry-After": "1"})


def _told(finding: CheckResult) -> dict[str, Any]:
    members = {"is": finding.word, "version": finding.version, "advice": finding.advice}
    return {name: value for name, value in members.items() if value is not None}
