"""Declare in OpenAPI how operations are protected: a security scheme for each issuer, and errors that no route has to list.

FastAPI lets a dependency declare a security scheme, but no responses. So they are added to the finished document, which is
FastAPI's documented way to extend it: an `openapi` method of one's own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase

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


class IssuerScheme(SecurityBase):
    """The security scheme of one issuer. As a dependency it only stands in OpenAPI: `BearerAuth` checks the tokens."""

    def __init__(self, name: str, token_url: str, scopes: Mapping[str, str]) -> None:
        listed = dict(scopes)
        self._flows = (
            OAuthFlowPassword(tokenUrl=token_url, scopes=listed),
            OAuthFlowClientCredentials(tokenUrl=token_url, scopes=listed),
        )
        self.scheme_name = name
        self.model = OAuth2(
            description="An access token (RFC 9068), sent as `Authorization: Bearer …`.",
            flows=OAuthFlows(password=self._flows[0], clientCredentials=self._flows[1]),
        )

    def set_token_url(self, url: str) -> None:
        """Show this token endpoint from now on."""
        for flow in self._flows:
            flow.tokenUrl = url

    async def __call__(self) -> None:
        """Check nothing."""


def component_name(*parts: str) -> str:
    """Return a name that OpenAPI allows for components, made of names and URLs."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(re.sub(r"^https?://", "", part) for part in parts)).strip("-")


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
