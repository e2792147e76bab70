"""Schemas and operations of the OAuth endpoints for OpenAPI. Written by hand, because these endpoints read their own forms.

`docs.add_schemas` adds `SCHEMAS` to the document's components, so that generated clients have a type of that name for each.
"""

from typing import Any

from authmint_service.endpoints.responses import describe, describe_form, reference
from authmint_service.grants import GrantParameter, GrantRegistry

_TEXT = {"type": "string"}
_TIME = {"type": "integer", "description": "Seconds since the epoch."}
_TEXTS = {"type": "array", "items": _TEXT}
_URL = {"type": "string", "format": "uri"}

_CLIENT = {
    "client_id": {**_TEXT, "description": "The client, unless it authenticates with HTTP Basic."},
    "client_secret": {**_TEXT, "format": "password", "description": "A confidential client's secret."},
}
_TOKEN_FORM = {
    "type": "object",
    "properties": {
        "token": {**_TEXT, "minLength": 1, "description": "A refresh token or an access token."},
        "token_type_hint": {**_TEXT, "description": "Not needed."},
        **_CLIENT,
    },
    "additionalProperties": _TEXT,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "TokenResponse": {
        "type": "object",
        "required": ["access_token", "token_type", "expires_in", "scope"],
        "properties": {
            "access_token": _TEXT,
            "token_type": {**_TEXT, "description": "`Bearer`, unless the grant issues another type."},
            "issued_token_type": {**_TEXT, "description": "RFC 8693, section 2.2.1: of a token that was exchanged."},
            "expires_in": {"type": "integer", "description": "Seconds."},
            "scope": _TEXT,
            "refresh_token": {**_TEXT, "description": "Not for a client that keeps it in a cookie."},
        },
        "additionalProperties": True,
    },
    "RevocationRequest": _TOKEN_FORM,
    "IntrospectionRequest": {**_TOKEN_FORM, "required": ["token"]},
    "IntrospectionResponse": {
        "type": "object",
        "required": ["active"],
        "properties": {
            "active": {"type": "boolean"},
            "scope": _TEXT,
            "client_id": _TEXT,
            "sub": _TEXT,
            "sid": _TEXT,
            "username": {**_TEXT, "description": "Of the person, if the token is one's."},
        },
    },
    "RevocationResponse": {"type": "object", "description": "Empty."},
    "OAuthError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": _TEXT, "error_description": _TEXT},
        "additionalProperties": True,
    },
    "ServerMetadata": {
        "type": "object",
        "description": "RFC 8414, section 2.",
        "required": ["issuer", "token_endpoint"],
        "properties": {
            "issuer": _URL,
            "token_endpoint": _URL,
            "revocation_endpoint": _URL,
            "introspection_endpoint": _URL,
            "revocation_list_uri": _URL,
            "jwks_uri": _URL,
            "key_history_uri": _URL,
            "grant_types_supported": _TEXTS,
            "response_types_supported": {**_TEXTS, "description": "Left out: there is no authorization endpoint."},
            "token_endpoint_auth_methods_supported": _TEXTS,
            "revocation_endpoint_auth_methods_supported": _TEXTS,
            "introspection_endpoint_auth_methods_supported": _TEXTS,
        },
    },
    "JWKSet": {
        "type": "object",
        "description": "RFC 7517, section 5.",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {"type": "object", "additionalProperties": True}}},
    },
    "KeyHistory": {
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": reference("KeyHistoryEntry")}},
    },
    "KeyHistoryEntry": {
        "type": "object",
        "required": ["kid", "alg"],
        "properties": {
            "kid": _TEXT,
            "alg": _TEXT,
            "published_at": _TIME,
            "active_from": _TIME,
            "retired_at": _TIME,
            "withdrawn_at": _TIME,
            "revoked_at": _TIME,
        },
    },
}


def grant_schemas(registry: GrantRegistry) -> dict[str, dict[str, Any]]:
    """Return the schemas that depend on the grants: the form of a token request."""
    properties: dict[str, dict[str, Any]] = {"grant_type": {**_TEXT, "enum": list(registry.names)}}
    for grant, parameter in registry.parameters:
        described = _parameter_schema(parameter)
        # Two grants may have a parameter of one name.
        before = properties.get(parameter.name, {}).get("description")
        text = f"For `{grant.name}`. {parameter.description}"
        properties[parameter.name] = {**described, "description": text if before is None else f"{before} {text}"}
    properties |= {
        "scope": {**_TEXT, "description": "Scopes, separated by spaces. Without it, all that the client may have."},
        "resource": {**_TEXT, "description": "The audience of the token (RFC 8707). Without it, the client's default."},
        **_CLIENT,
    }
    form = {"type": "object", "required": ["grant_type"], "properties": properties, "additionalProperties": _TEXT}
    return {"TokenRequest": form}


def _parameter_schema(parameter: GrantParameter) -> dict[str, Any]:
    text = {**_TEXT, **({"format": "password"} if parameter.secret else {})}
    return {"type": "array", "items": text} if parameter.repeatable else text


_COOKIE_RULES = """
A client with `refresh_cookie` has its refresh token in the cookie `__Host-authmint-refresh-{client_id}` (Secure, HttpOnly,
SameSite=Strict) and never in a form or a response. Its requests must come from one of its `origins`: without such an `Origin`
header they are refused. An error response never changes the cookie.
"""

_SET_COOKIE = {"Set-Cookie": {"description": "The refresh token, for clients that keep it in a cookie.", "schema": _TEXT}}

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: describe("The request is refused.", "OAuthError"),
    401: {
        **describe("Client authentication failed.", "OAuthError"),
        "headers": {"WWW-Authenticate": {"description": "The challenge (RFC 9110, section 11.6.1).", "schema": _TEXT}},
    },
    503: describe("Not available at the moment; try again after `Retry-After` seconds.", "OAuthError"),
}

NO_KEY_RESPONSE: dict[int | str, dict[str, Any]] = {
    503: describe("No key yet; try again after `Retry-After` seconds.", "OAuthError")
}

TOKEN_OPERATION: dict[str, Any] = {
    "operation_id": "issueToken",
    "summary": "Sign in, refresh, or get a token for a service",
    "description": f"RFC 6749, section 3.2. Errors are those of section 5.2.\n{_COOKIE_RULES}",
    "responses": {
        200: {**describe("Tokens. Store them, not the password.", "TokenResponse"), "headers": _SET_COOKIE},
        **_ERRORS,
        400: describe("The request, the credentials or the refresh token are refused.", "OAuthError"),
    },
    "openapi_extra": describe_form("TokenRequest"),
}

REVOKE_OPERATION: dict[str, Any] = {
    "operation_id": "revokeToken",
    "summary": "Sign out: revoke the session of a token",
    "description": "RFC 7009. A public client sends its `client_id` alone. A client with a cookie leaves out `token` to revoke "
    f"the token in its cookie; if that revoked the session, the response deletes the cookie.\n{_COOKIE_RULES}",
    "responses": {200: describe("The token is revoked, or never was valid.", "RevocationResponse"), **_ERRORS},
    "openapi_extra": describe_form("RevocationRequest"),
}

INTROSPECT_OPERATION: dict[str, Any] = {
    "operation_id": "introspectToken",
    "summary": "Is this token valid at the moment?",
    "description": "RFC 7662, for clients with a secret. A refresh token is active for its own client alone.",
    "responses": {200: describe("Whether it is valid, and its claims.", "IntrospectionResponse"), **_ERRORS},
    "openapi_extra": describe_form("IntrospectionRequest"),
}
