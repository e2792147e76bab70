"""Answers to what went wrong outside the token endpoint: JSON with a request id, never a traceback, never what was sent."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.endpoints.requests import request_id
from service.errors import DatabaseUnavailable, SchemaBehind
from service.telemetry import tell_also, where

log = structlog.get_logger("service.answers")


def install_error_answers(app: FastAPI) -> None:
    """Makes every error of `app` an answer of one form."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (DatabaseUnavailable, SchemaBehind):
        app.add_exception_handler(kind, _unavailable)


def error_answer(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """`error` is a word for programs, `message` a sentence for people."""
    content = {"error": error, "message": message, "request_id": request_id()}
    return JSONResponse(content, status, {"Cache-Control": "no-store", **(headers or {})})


async def _refused(_: Request, refused: Exception) -> JSONResponse:
    assert isinstance(refused, HTTPException)
    phrase = HTTPStatus(refused.status_code).phrase
    error = getattr(refused, "error", None) or phrase.lower().replace(" ", "_")
    tell_also(error=error)
    return error_answer(refused.status_code, error, refused.detail or phrase, dict(refused.headers or {}))


async def _invalid(_: Request, __: Exception) -> JSONResponse:
    # Which field is wrong is in OpenAPI; FastAPI's own answer would repeat the values.
    return error_answer(422, "invalid_request", "The request does not have the form that OpenAPI describes.")


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("request failed", reason=str(error), error_at=where(error))
    tell_also(error="temporarily_unavailable")
    headers = {"Retry-After": str(DatabaseUnavailable.retry_after)}
    return error_answer(503, "temporarily_unavailable", "The service is not available at the moment. Try again later.", headers)
