"""Public documents of the service: its metadata (RFC 8414), its public keys (RFC 7517), and the history of its keys.

Each is kept in memory with an entity tag; a client that has the current one gets 304.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authmint.errors import TemporarilyUnavailable
from authmint_service.endpoints.oauth.openapi import NO_KEY_RESPONSE
from authmint_service.endpoints.responses import describe
from authmint_service.signing_keys import JWKS_STALE_SECONDS, MAX_AGE, KeyRing, PublishedDocument

WITH_SECRET = ["client_secret_basic", "client_secret_post"]
CACHED = {"Cache-Control": f"public, max-age={MAX_AGE}, stale-while-revalidate={JWKS_STALE_SECONDS}"}
# Any page may verify tokens or discover endpoints: these two documents are public, and the requests have no credentials.
FOR_ALL_ORIGINS = CACHED | {"Access-Control-Allow-Origin": "*"}

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It has not changed."}}


WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
"""Many that verify tokens look in OpenID's place alone. RFC 8414, section 5, lets a server answer there that has no OpenID."""


class MetadataEndpoints:
    """`/.well-known/…` and `/key-history`. Every member comes from the settings, none from the request."""

    def __init__(self, issuer: str, grants: Collection[str], ring: KeyRing, more: Mapping[str, Any]) -> None:
        """`more`: members of features."""
        self._ring = ring
        self._path = urlsplit(issuer).path.rstrip("/")
        base = issuer.rstrip("/")
        members: dict[str, Any] = {
            "issuer": issuer,
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "introspection_endpoint": f"{base}/introspect",
            "revocation_list_uri": f"{base}/revocation-list",
            "grant_types_supported": sorted(grants),
            "token_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "revocation_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "introspection_endpoint_auth_methods_supported": WITH_SECRET,
        }
        if ring.publishes_keys:
            members |= {"jwks_uri": f"{base}/.well-known/jwks.json", "key_history_uri": f"{base}/key-history"}
        # Members without elements are left out (RFC 8414, section 3.2): `response_types_supported` would be one.
        self._metadata = PublishedDocument.of({name: value for name, value in {**members, **more}.items() if value != []})

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"])
        well_known, *others = self._places()
        router.add_api_route(
            well_known,
            self.get_server_metadata,
            operation_id="getServerMetadata",
            summary="The service's metadata (RFC 8414)",
            response_model=None,
            responses={200: describe("The metadata.", "ServerMetadata"), **NOT_MODIFIED},
        )
        for place in others:
            router.add_api_route(place, self.get_server_metadata, include_in_schema=False, response_model=None)
        if self._ring.publishes_keys:
            for path, endpoint, operation_id, schema, summary in (
                ("/.well-known/jwks.json", self.get_jwk_set, "getJWKSet", "JWKSet", "The public keys"),
                (
                    "/key-history",
                    self.get_key_history,
                    "getKeyHistory",
                    "KeyHistory",
                    "When each key was retired or revoked",
                ),
            ):
                router.add_api_route(
                    path, endpoint, operation_id=operation_id, summary=summary, response_model=None,
                    responses={200: describe(f"{summary}.", schema), **NOT_MODIFIED, **NO_KEY_RESPONSE},
                )  # fmt: skip
        return router

    def _places(self) -> list[str]:
        """Return where the metadata is.

        RFC 8414, section 3, puts the well-known part before the issuer's path, OpenID behind it. A proxy that strips the path
        sends the second form as one without a path.
        """
        with_path = [text for place in WELL_KNOWN for text in (place + self._path, self._path + place)] if self._path else []
        return [*WELL_KNOWN, *with_path]

    async def get_server_metadata(self, request: Request) -> Response:
        return _respond(request, lambda: self._metadata, FOR_ALL_ORIGINS)

    async def get_jwk_set(self, request: Request) -> Response:
        return _respond(request, lambda: self._ring.jwks, FOR_ALL_ORIGINS)

    async def get_key_history(self, request: Request) -> Response:
        return _respond(request, lambda: self._ring.history, CACHED)


def _respond(request: Request, find: Callable[[], PublishedDocument], headers: dict[str, str]) -> Response:
    try:
        document = find()
    except TemporarilyUnavailable as error:
        content = {"error": error.error, "error_description": error.description}
        return JSONResponse(content, error.status, {"Retry-After": str(error.retry_after), "Cache-Control": "no-store"})
    headers = headers | {"ETag": document.tag}
    # A cache may have weakened the tag, and may send several tags (RFC 9110, section 13.1.2).
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if document.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(document.content, media_type="application/json", headers=headers)
