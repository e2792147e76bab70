"""Responses of the endpoints where clients authenticate, and their errors (RFC 6749, section 5.2)."""

from collections.abc import Awaitable

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authmint.errors import InvalidClient, OAuthError, TemporarilyUnavailable
from authmint_service.endpoints.oauth.client_authentication import challenge
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.logs import error_locations
from authmint_service.request_log import Outcome, current_record
from authmint_service.sessions.sessions import RefreshTokenReused

log = structlog.get_logger(__name__)

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class FastJSONResponse(JSONResponse):
    """JSON from a faster encoder: every issued token is sent in it."""

    def render(self, content: object) -> bytes:
        return orjson.dumps(content)


async def respond(request: Request, work: Awaitable[Response]) -> Response:
    """Return the response of `work`, or one for the error that it raises.

    An unavailable database is a 503, never a 200 that is not true.
    """
    try:
        return await work
    except OAuthError as error:
        return _error_response(error, request)
    except (DatabaseUnavailable, SchemaOutdated) as error:
        log.warning("request.failed", reason=str(error), error_locations=error_locations(error))
        return _error_response(TemporarilyUnavailable(retry_after=DatabaseUnavailable.retry_after), request)


def _error_response(error: OAuthError, request: Request) -> FastJSONResponse:
    headers = dict(NO_STORE)
    if isinstance(error, InvalidClient):
        headers["WWW-Authenticate"] = challenge(request)
    if isinstance(error, TemporarilyUnavailable):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RefreshTokenReused):
        log.warning("refresh_token.reused", reason=error.cause.value, sub=error.session.account_id, sid=error.session.id)
        current_record().add(error=error.error)
    else:
        current_record().set_outcome(Outcome.REQUEST_REFUSED, error=error.error, reason=error.description)
    members = {**error.extra, "error": error.error, "error_description": error.description}
    return FastJSONResponse(members, error.status, headers)
