"""Declare in OpenAPI the errors of protected operations, so that no route has to list them.

FastAPI lets a dependency declare a security scheme, but no responses. So they are added to the finished document, which is
FastAPI's documented way to extend it: an `openapi` method of one's own.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

SCHEMA_NAME = "BearerAuthError"
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"})

_SCHEMA = {
    "title": SCHEMA_NAME,
    "description": "A request that was refused because of its access token.",
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"title": "Detail", "type": "string", "description": "A sentence for people."}},
}
_CHALLENGE = ("WWW-Authenticate", "The challenge, with the error code (RFC 6750, section 3).", {"type": "string"})
_RETRY_AFTER = ("Retry-After", "Seconds after which the same request may succeed.", {"type": "integer"})
_RESPONSES = {
    "401": ("The access token is missing, expired, revoked or not valid for this service.", _CHALLENGE),
    "403": ("The access token does not allow this operation.", _CHALLENGE),
    "503": ("Access tokens cannot be verified now: the issuer's keys are not available.", _RETRY_AFTER),
}


def declare_errors(app: FastAPI, scheme_name: str) -> None:
    """Make `app.openapi()` declare 401, 403 and 503 for each operation that the security scheme protects.

    A response that a route declares itself stays as it is.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        # FastAPI caches the document; to add what is there already changes nothing.
        return _add_errors(generate(), scheme_name)

    _replace_openapi(app, openapi)


def _replace_openapi(app: FastAPI, openapi: Callable[[], dict[str, Any]]) -> None:
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its OpenAPI


def _add_errors(document: dict[str, Any], scheme_name: str) -> dict[str, Any]:
    operations = [
        operation
        for path in document.get("paths", {}).values()
        for method, operation in path.items()
        if method in _METHODS and any(scheme_name in required for required in operation.get("security", []))
    ]
    for operation in operations:
        for status in _RESPONSES:
            operation.setdefault("responses", {}).setdefault(status, _response(status))
    if operations:
        document.setdefault("components", {}).setdefault("schemas", {}).setdefault(SCHEMA_NAME, _SCHEMA)
    return document


def _response(status: str) -> dict[str, Any]:
    description, (header, meaning, schema) = _RESPONSES[status]
    return {
        "description": description,
        "headers": {header: {"description": meaning, "schema": schema}},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{SCHEMA_NAME}"}}},
    }
