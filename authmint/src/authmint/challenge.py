"""How a resource server reads credentials and refuses them (RFC 6750, sections 2.1 and 3): one place for status and header."""

from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.types import Scope

from authmint.errors import InsufficientScope, InvalidRequest, InvalidToken, IssuerUnavailable, OAuthError
from authmint.scopes import format_scope


class Refusal(HTTPException):
    """An answer that refuses a request. FastAPI and Starlette send it as they send every HTTPException.

    `error` is the OAuth code, or None when no credentials were sent.
    """

    def __init__(self, status_code: int, detail: str, *, error: str | None, headers: dict[str, str]) -> None:
        super().__init__(status_code, detail, headers)
        self.error = error


def bearer_token(scope: Scope) -> str | None:
    """The token in the Authorization header, the only place where one is looked for; None when there is none.

    Raises InvalidRequest for two Authorization headers: whoever checks the one may be followed by whoever reads the other.
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


def missing_token(scopes: Collection[str], resource_metadata: str | None = None) -> Refusal:
    """401 without an error code: the caller has not done anything wrong yet (RFC 6750, section 3.1)."""
    header = _challenge(None, scopes, resource_metadata)
    return Refusal(401, "An access token is required.", error=None, headers=header)


def refusal(error: OAuthError, resource_metadata: str | None = None) -> Refusal:
    """The answer to a request with bad credentials."""
    status = {InvalidRequest: 400, InvalidToken: 401, InsufficientScope: 403}[type(error)]
    scopes = error.scopes if isinstance(error, InsufficientScope) else ()
    headers = _challenge(error, scopes, resource_metadata)
    return Refusal(status, error.description, error=error.error, headers=headers)


def issuer_unavailable(error: IssuerUnavailable) -> Refusal:
    """503: nobody can tell whether the token is good, and a client throws its session away on a 401."""
    headers = {"Retry-After": str(error.retry_after)}
    return Refusal(503, "Access tokens cannot be verified now. Try again.", error="temporarily_unavailable", headers=headers)


def _challenge(error: OAuthError | None, scopes: Collection[str], resource_metadata: str | None) -> dict[str, str]:
    parameters = {
        "error": error.error if error else None,
        "error_description": error.description if error else None,
        "scope": format_scope(scopes) or None,
        "resource_metadata": resource_metadata,
    }
    said = ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value is not None)
    return {"WWW-Authenticate": f"Bearer {said}".rstrip(), "Cache-Control": "no-store"}
