"""Responses to errors outside the OAuth endpoints: problem documents (RFC 9457), without traceback and without what was sent.

`SCHEMAS` holds schemas by name for the OpenAPI document, as `oauth.openapi` does. Routes refer to them: a schema that is given
to FastAPI as a model is built again for each route and each application.
"""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from authmint.errors import InvalidRequest, TemporarilyUnavailable
from authmint_service.endpoints.field_errors import FieldError, rule_error, validation_errors, value_error
from authmint_service.endpoints.oauth.forms import InvalidParameter
from authmint_service.endpoints.requests import PROBLEM_MEDIA_TYPE, problem_members
from authmint_service.errors import DatabaseUnavailable, InvalidValue, SchemaOutdated
from authmint_service.logs import error_locations
from authmint_service.request_log import current_record
from authmint_service.sentences import sentence_for

log = structlog.get_logger(__name__)

_TEXT = {"type": "string"}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "Why a request failed (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": {**_TEXT, "format": "uri-reference", "description": "`about:blank`: `title` and `status` say the kind."},
            "title": {**_TEXT, "description": "The reason phrase of the status."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {**_TEXT, "description": "A sentence for people."},
            "code": {**_TEXT, "description": "A stable code for programs, such as `not_found`."},
            "request_id": {**_TEXT, "description": "The id of the request, as in the header `X-Request-ID` and in the log."},
            "errors": {
                "type": "array",
                "minItems": 1,
                "description": "What is wrong with single fields. No value that was sent is repeated.",
                "items": {
                    "type": "object",
                    "required": ["field", "code", "detail"],
                    "properties": {
                        "field": {**_TEXT, "description": "The name of the parameter or of the member of the body."},
                        "code": {
                            **_TEXT,
                            "description": "The field and the rule it breaks, as `password_too_short`.",
                        },
                        "detail": {**_TEXT, "description": "A sentence for people."},
                    },
                },
            },
        },
    },
}

_DESCRIPTIONS = {
    400: "The request is malformed.",
    401: "There is no access token, or it is expired, revoked, malformed or not valid for this service.",
    403: "The access token, or what came with it, does not allow this.",
    404: "Not found, or no longer there.",
    422: "A value breaks a rule; `errors` names the field and the rule.",
    503: "Not available at the moment; try again after `Retry-After` seconds.",
}


def reference(name: str) -> dict[str, Any]:
    """Return the reference to a schema of the OpenAPI document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def describe(description: str, schema: str, media_type: str = "application/json") -> dict[str, Any]:
    """Return OpenAPI's description of a response whose body has the schema of this name."""
    return {"description": description, "content": {media_type: {"schema": reference(schema)}}}


def describe_form(schema: str, *, required: bool = True) -> dict[str, Any]:
    """Return OpenAPI's description of a request whose body is a form with the schema of this name."""
    content = {"application/x-www-form-urlencoded": {"schema": reference(schema)}}
    return {"requestBody": {"required": required, "content": content}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's descriptions of a route's errors."""
    return {status: describe(_DESCRIPTIONS[status], "Problem", PROBLEM_MEDIA_TYPE) for status in statuses}


BEARER_RESPONSES = problem_responses(400, 401, 403, 503)
"""For every route that requires an access token (RFC 6750, section 3.1)."""


def install_error_handlers(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make every error of `app` a problem document. `routers`: all that `app` includes."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(405, partial(_method_not_allowed, routers))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    for kind in (DatabaseUnavailable, SchemaOutdated):
        app.add_exception_handler(kind, _database_unavailable)


def problem_response(
    status: int, code: str, detail: str = "", headers: dict[str, str] | None = None, *, errors: Sequence[FieldError] = ()
) -> JSONResponse:
    """Return a problem document: `code` for programs, `detail` a sentence for people, or else the one that belongs to the code.

    `errors`: what is wrong with single fields.
    """
    headers = {"Cache-Control": "no-store", **(headers or {})}
    members = problem_members(status, code, detail or sentence_for(code, {}), errors)
    return JSONResponse(members, status, headers, PROBLEM_MEDIA_TYPE)


def invalid_fields_response(errors: Sequence[FieldError]) -> JSONResponse:
    """Return the 422 for fields that break a rule."""
    return problem_response(422, InvalidRequest.error, " ".join(error.detail for error in errors), errors=errors)


def invalid_value_response(error: InvalidValue) -> JSONResponse:
    """Return the 422 for a value that is refused."""
    return problem_response(422, error.code, str(error), errors=value_error(error))


def invalid_form_response(error: InvalidRequest) -> JSONResponse:
    """Return the 400 for a form that cannot be read. It names the parameter if the error is about one."""
    errors = []
    if isinstance(error, InvalidParameter) and error.name is not None:
        errors.append(rule_error(error.name, error.rule))
    return problem_response(400, error.error, error.description, errors=errors)


def unavailable_response(error: TemporarilyUnavailable) -> JSONResponse:
    """Return the 503 for work that can be tried again later."""
    return problem_response(error.status, error.error, error.description, {"Retry-After": str(error.retry_after)})


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code = getattr(error, "error", None) or phrase.lower().replace(" ", "_")
    current_record().add(error=code)
    return problem_response(error.status_code, code, error.detail or phrase, dict(error.headers or {}))


async def _method_not_allowed(routers: Sequence[APIRouter], request: Request, error: Exception) -> JSONResponse:
    """Name all methods of the path in `Allow` (RFC 9110, section 15.5.6); Starlette names those of one route."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    allowed = set().union(*(route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE))
    response = await _http_error(request, error)
    if allowed:
        # `HeadRequests` serves HEAD where GET is.
        response.headers["Allow"] = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
    return response


async def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    # FastAPI's own response would repeat the values.
    assert isinstance(error, RequestValidationError)
    return invalid_fields_response(validation_errors(error))


async def _database_unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("request.failed", reason=str(error), error_locations=error_locations(error))
    current_record().add(error=TemporarilyUnavailable.error)
    return unavailable_response(TemporarilyUnavailable(retry_after=DatabaseUnavailable.retry_after))
