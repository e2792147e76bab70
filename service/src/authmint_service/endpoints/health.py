"""Whether the process runs (`/livez`) and whether it can serve (`/readyz`)."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from authmint_service.endpoints.responses import describe, reference
from authmint_service.errors import Unavailability
from authmint_service.readiness import UNAVAILABLE, CheckResult, Readiness

MAX_SECONDS = 1.5
NO_STORE = {"Cache-Control": "no-store"}

_TEXT = {"type": "string"}
_STATUSES = [
    "ok",
    *Unavailability,
    "unknown",
    "stopping",
    "missing",
    "incomplete",
    "outdated",
    "ahead",
    "behind",
    "skewed",
    "large",
]

SCHEMAS: dict[str, dict[str, Any]] = {
    "Liveness": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {**_TEXT, "const": "live"}},
    },
    "Readiness": {
        "type": "object",
        "required": ["status", "checks"],
        "properties": {
            "status": {**_TEXT, "enum": ["ready", "not_ready"]},
            "checks": {
                "type": "object",
                "description": "By name: `process`, `database`, `schema`, `signing_keys`, `secret_keys`, `sessions`, "
                "`changes`, `revocation_list` and `clock`.",
                "additionalProperties": reference("ReadinessCheck"),
            },
        },
    },
    "ReadinessCheck": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {**_TEXT, "enum": _STATUSES},
            "message": {**_TEXT, "description": "What is wrong, and what to do."},
            "version": {**_TEXT, "description": "The version of the database's schema."},
        },
    },
}


class HealthEndpoints:
    """Respond to probes. `/livez` checks the event loop alone: an unavailable database is no reason to kill a process."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        for path, endpoint, operation_id, summary, responses in (
            ("/livez", self.live, "getLiveness", "Does the process run?", {200: describe("It runs.", "Liveness")}),
            (
                "/readyz", self.ready, "getReadiness", "Can the process serve?",
                {200: describe("It can.", "Readiness"), 503: describe("It cannot; `message` says what to do.", "Readiness")},
            ),
        ):  # fmt: skip
            options: dict[str, Any] = {"operation_id": operation_id, "summary": summary, "responses": responses}
            router.add_api_route(path, endpoint, methods=["GET"], response_model=None, **options)
        return router

    async def live(self) -> JSONResponse:
        return JSONResponse({"status": "live"}, headers=NO_STORE)

    async def ready(self) -> JSONResponse:
        try:
            async with asyncio.timeout(MAX_SECONDS):
                results = await self._readiness.check()
        except TimeoutError:
            results = {"database": UNAVAILABLE[Unavailability.UNREACHABLE]}
        checks = {name: _to_json(result) for name, result in results.items()}
        if not any(result.blocks_serving for result in results.values()):
            return JSONResponse({"status": "ready", "checks": checks}, headers=NO_STORE)
        return JSONResponse({"status": "not_ready", "checks": checks}, 503, {**NO_STORE, "Retry-After": "1"})


def _to_json(result: CheckResult) -> dict[str, str]:
    members = {"status": result.status, "message": result.message, "version": result.version}
    return {name: value for name, value in members.items() if value is not None}
