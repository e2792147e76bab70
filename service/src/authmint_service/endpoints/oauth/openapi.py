"""What OpenAPI says of the token endpoint. By hand, because the endpoint reads its own form."""

from typing import Any

from authmint_service.grants import GRANT_CLASSES, GRANT_TYPES

_TEXT = {"type": "string"}

_CLIENT = {
    "client_id": {**_TEXT, "description": "The client, unless it authenticates with HTTP Basic."},
    "client_secret": {**_TEXT, "format": "password", "description": "A confidential client's secret."},
}

_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": list(GRANT_TYPES)},
        **{
            parameter.name: {
                **_TEXT,
                **({"format": "password"} if parameter.secret else {}),
                "description": f"For `{grant.name}`. {parameter.description}",
            }
            for grant in GRANT_CLASSES
            for parameter in grant.parameters
        },
        "scope": {**_TEXT, "description": "Scopes, separated by spaces. Without it, all that the client may have."},
        "resource": {**_TEXT, "description": "The audience the token is for (RFC 8707). Without it, the client's default."},
        **_CLIENT,
    },
    "additionalProperties": _TEXT,
}

_TOKENS = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": _TEXT,
        "token_type": {"type": "string", "const": "Bearer"},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "scope": _TEXT,
        "refresh_token": {**_TEXT, "description": "Not for a client that keeps it in a cookie."},
    },
}

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": _TEXT, "error_description": _TEXT},
}


_COOKIE_RULES = """
A client with `refresh_cookie` has its refresh token in the cookie `__Host-authmint-refresh-{client_id}` (Secure, HttpOnly,
SameSite=Strict) and never in a form or an answer. Its requests must come from one of its `origins`: without such an `Origin`
header they are refused. An answer that refuses never changes the cookie.
"""

_SET_COOKIE = {"Set-Cookie": {"description": "The refresh token, for clients that keep it in a cookie.", "schema": _TEXT}}


def response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


_TOKEN_FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {**_TEXT, "minLength": 1, "description": "A refresh token or an access token."},
        "token_type_hint": {**_TEXT, "description": "Not needed."},
        **_CLIENT,
    },
    "additionalProperties": _TEXT,
}

_STATUS = {
    "type": "object",
    "required": ["active"],
    "properties": {"active": {"type": "boolean"}, "scope": _TEXT, "client_id": _TEXT, "sub": _TEXT, "sid": _TEXT},
}

PASSWORD_FORM = _form(
    {
        "type": "object",
        "required": ["current_password", "new_password"],
        "properties": {name: {**_TEXT, "minLength": 1, "format": "password"} for name in ("current_password", "new_password")},
    }
)

TOKEN_OPERATION: dict[str, Any] = {
    "operation_id": "token",
    "summary": "Sign in, refresh, or get a token for a service",
    "description": f"RFC 6749, section 3.2. Errors are those of section 5.2.\n{_COOKIE_RULES}",
    "responses": {
        200: {**response("Tokens. Store them, not the password.", _TOKENS), "headers": _SET_COOKIE},
        400: response("The request, the credentials or the refresh token are refused.", ERROR),
        401: response("The client is not who it says.", ERROR),
        503: response("Not now; try again after `Retry-After` seconds.", ERROR),
    },
    "openapi_extra": _form(_FORM),
}

_REFUSALS = {
    400: response("The request is refused.", ERROR),
    401: response("The client is not who it says.", ERROR),
    503: response("Not now; try again after `Retry-After` seconds.", ERROR),
}

REVOKE_OPERATION: dict[str, Any] = {
    "operation_id": "revoke",
    "summary": "Sign out: end the session that a token is of",
    "description": "RFC 7009. A public client sends its `client_id` alone. One with a cookie leaves out `token` to speak of "
    f"the token in there; if that ended the session, the answer takes the cookie away.\n{_COOKIE_RULES}",
    "responses": {200: {"description": "The token is good for nothing, or never was."}, **_REFUSALS},
    "openapi_extra": _form({**_TOKEN_FORM, "required": []}),
}

INTROSPECT_OPERATION: dict[str, Any] = {
    "operation_id": "introspect",
    "summary": "Is this token good at this moment?",
    "description": "RFC 7662, for clients with a secret. A refresh token is told of to its own client alone.",
    "responses": {200: response("Whether it is, and what it says.", _STATUS), **_REFUSALS},
    "openapi_extra": _form(_TOKEN_FORM),
}
