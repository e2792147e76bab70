"""Answers to what went wrong outside the token endpoint: JSON with a request id, never a traceback, never what was sent."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from authmint_service.endpoints.requests import request_id
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.logs import error_locations
from authmint_service.request_log import current_record

log = structlog.get_logger(__name__)


class Refusal(BaseModel):
    """Why a request brought nothing."""

    error: str
    """A word for programs."""
    message: str
    """A sentence for people."""
    request_id: str


_WHY = {
    400: "The request is malformed.",
    401: "There is no access token, or it is expired, revoked, malformed or not valid for this service.",
    403: "The access token, or what came with it, does not allow this.",
    404: "There is no such thing, or no longer.",
    422: "The request does not have the form that is described here.",
    503: "Not now; try again after `Retry-After` seconds.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors of a route."""
    return {status: {"model": Refusal, "description": _WHY[status]} for status in statuses}


BEARER_RESPONSES = problem_responses(400, 401, 403, 503)
"""For every route that asks for an access token (RFC 6750, section 3.1)."""


def install_error_handlers(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Makes every error of `app` an answer of one form. `routers`: all that `app` includes."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(405, partial(_not_allowed, routers))
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (DatabaseUnavailable, SchemaOutdated):
        app.add_exception_handler(kind, _unavailable)


def problem_response(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """`error` is a word for programs, `message` a sentence for people."""
    content = Refusal(error=error, message=message, request_id=request_id())
    return JSONResponse(content.model_dump(), status, {"Cache-Control": "no-store", **(headers or {})})


async def _refused(_: Request, refused: Exception) -> JSONResponse:
    assert isinstance(refused, HTTPException)
    phrase = HTTPStatus(refused.status_code).phrase
    error = getattr(refused, "error", None) or phrase.lower().replace(" ", "_")
    current_record().add(error=error)
    return problem_response(refused.status_code, error, refused.detail or phrase, dict(refused.headers or {}))


async def _not_allowed(routers: Sequence[APIRouter], request: Request, refused: Exception) -> JSONResponse:
    """Starlette's own `Allow` names the methods of one route, and a path may have several (RFC 9110, section 15.5.6)."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    here = [route.methods or set() for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    answer = await _refused(request, refused)
    if here:
        answer.headers["Allow"] = ", ".join(sorted(set().union(*here)))
    return answer


async def _invalid(_: Request, __: Exception) -> JSONResponse:
    # Which field is wrong is in OpenAPI; FastAPI's own answer would repeat the values.
    return problem_response(422, "invalid_request", "The request does not have the form that OpenAPI describes.")


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("request.failed", reason=str(error), error_locations=error_locations(error))
    current_record().add(error="temporarily_unavailable")
    headers = {"Retry-After": str(DatabaseUnavailable.retry_after)}
    return problem_response(
        503, "temporarily_unavailable", "The service is not available at the moment. Try again later.", headers
    )
