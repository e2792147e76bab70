"""What the service publishes about itself: its metadata (RFC 8414), its public keys (RFC 7517), and what became of them.

Each is made once and answered from memory, with a tag; whoever has the current one gets 304.
"""

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authmint.errors import TemporarilyUnavailable
from authmint_service.endpoints.oauth.openapi import ERROR, response
from authmint_service.signing_keys import JWKS_STALE_SECONDS, MAX_AGE, KeyRing, PublishedDocument

WITH_SECRET = ["client_secret_basic", "client_secret_post"]
CACHED = {"Cache-Control": f"public, max-age={MAX_AGE}, stale-while-revalidate={JWKS_STALE_SECONDS}"}
# Any page may verify tokens or look for endpoints: these two documents are public, and no credentials come with the request.
FOR_EVERY_PAGE = CACHED | {"Access-Control-Allow-Origin": "*"}

NO_KEY: dict[int | str, dict[str, Any]] = {503: response("No key yet; try again after `Retry-After` seconds.", ERROR)}


class MetadataEndpoints:
    """Answers under `/.well-known/`. Everything in it comes from the settings, nothing from the request."""

    def __init__(self, issuer: str, grants: Collection[str], ring: KeyRing) -> None:
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
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "revocation_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "introspection_endpoint_auth_methods_supported": WITH_SECRET,
        }
        if ring.publishes_keys:
            members |= {"jwks_uri": f"{base}/.well-known/jwks.json", "key_history_uri": f"{base}/key-history"}
        self._metadata = PublishedDocument.of(members)

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"], responses={304: {"description": "It has not changed."}})
        well_known = "/.well-known/oauth-authorization-server"
        router.add_api_route(
            well_known, self.metadata, summary="The service's metadata (RFC 8414)", response_model=dict[str, Any]
        )
        if self._path:
            # RFC 8414, section 3: the well-known part stands before the issuer's path.
            router.add_api_route(well_known + self._path, self.metadata, include_in_schema=False)
        if self._ring.publishes_keys:
            for path, answer, summary in (
                ("/.well-known/jwks.json", self.jwks, "The public keys"),
                ("/key-history", self.history, "Which key was retired or revoked, and when"),
            ):
                router.add_api_route(path, answer, summary=summary, response_model=dict[str, Any], responses=NO_KEY)
        return router

    async def metadata(self, request: Request) -> Response:
        return _answer(request, lambda: self._metadata, FOR_EVERY_PAGE)

    async def jwks(self, request: Request) -> Response:
        return _answer(request, lambda: self._ring.jwks, FOR_EVERY_PAGE)

    async def history(self, request: Request) -> Response:
        return _answer(request, lambda: self._ring.history, CACHED)


def _answer(request: Request, find: Callable[[], PublishedDocument], headers: dict[str, str]) -> Response:
    try:
        document = find()
    except TemporarilyUnavailable as error:
        content = {"error": error.error, "error_description": error.description}
        return JSONResponse(content, 503, {"Retry-After": str(error.retry_after), "Cache-Control": "no-store"})
    headers = headers | {"ETag": document.tag}
    # A cache may have made the tag weak on the way, and may name several (RFC 9110, section 13.1.2).
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if document.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(document.content, media_type="application/json", headers=headers)
