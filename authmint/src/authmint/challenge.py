"""Read bearer credentials from a request, and build the errors that refuse it (RFC 6750, sections 2.1 and 3).

The headers of these errors are chosen here and nowhere else; the status is that of the error's class.
"""

from collections.abc import Collection

from fastapi import HTTPException
from starlette.types import Scope

from authmint.errors import InsufficientScope, InvalidRequest, IssuerUnavailable, OAuthError
from authmint.scopes import format_scope


class BearerAuthError(HTTPException):
    """A request that is refused because of its credentials. FastAPI and Starlette respond as to every HTTPException.

    `error` is the OAuth code, or None when no credentials were sent.
    """

    def __init__(
        self, status_code: int, detail: str, *, error: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status_code, detail, headers)
        self.error = error


def bearer_token(scope: Scope) -> str | None:
    """Return the token in the Authorization header, the only place where one is read; None when there is none.

    Raise InvalidRequest for two Authorization headers: a proxy that checks one of them may be followed by code that reads the
    other.
    """
    credentials: bytes | None = None
    # ASGI has the names in lower case. An object around the list would cost as much as the rest of a warm request.
    for name, value in scope["headers"]:
        if name == b"authorization":
            if credentials is not None:
                raise InvalidRequest("The request has more than one Authorization header.")
            credentials = value
    if credentials is None:
        return None
    scheme, _, token = credentials.decode("latin-1").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def missing_token(scopes: Collection[str], resource_metadata: str | None = None) -> BearerAuthError:
    """Return a 401 without an error code, for a request without a token (RFC 6750, section 3.1)."""
    headers = _challenge(None, scopes, resource_metadata)
    return BearerAuthError(401, "An access token is required.", error=None, headers=headers)


def to_http_error(error: OAuthError, resource_metadata: str | None = None) -> BearerAuthError:
    """Return the HTTP error for bad credentials: 400, 401 or 403."""
    scopes = error.scopes if isinstance(error, InsufficientScope) else ()
    headers = _challenge(error, scopes, resource_metadata)
    return BearerAuthError(error.status, error.description, error=error.error, headers=headers)


def issuer_unavailable(error: IssuerUnavailable) -> BearerAuthError:
    """Return a 503: the token may be good, and after a 401 a client discards its session."""
    return BearerAuthError(
        503,
        "Access tokens cannot be verified now. Try again.",
        error="temporarily_unavailable",
        headers={"Retry-After": str(error.retry_after)},
    )


def _challenge(error: OAuthError | None, scopes: Collection[str], resource_metadata: str | None) -> dict[str, str]:
    parameters = {
        "error": error.error if error else None,
        "error_description": error.description if error else None,
        "scope": format_scope(scopes) or None,
        "resource_metadata": resource_metadata,
    }
    listed = ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value is not None)
    # One parameter at least follows the scheme (RFC 6750, section 3).
    return {"WWW-Authenticate": "Bearer " + (listed or 'realm="api"'), "Cache-Control": "no-store"}
