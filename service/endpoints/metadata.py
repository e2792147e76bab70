"""What the service publishes about itself: its metadata (RFC 8414) and its public keys (RFC 7517)."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.responses import JSONResponse

from mintmark.errors import TemporarilyUnavailable
from service.signing_keys import KeyRing

MAX_AGE = 300
"""Seconds that others may keep the keys."""

WITH_SECRET = ["client_secret_basic", "client_secret_post"]


class MetadataEndpoints:
    """Answers under `/.well-known/`. Everything in it comes from the settings, nothing from the request."""

    def __init__(self, issuer: str, grants: Collection[str], ring: KeyRing) -> None:
        self._issuer, self._ring = issuer, ring
        self._path = urlsplit(issuer).path.rstrip("/")
        base = issuer.rstrip("/")
        self._metadata: dict[str, Any] = {
            "issuer": issuer,
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "introspection_endpoint": f"{base}/introspect",
            "revocations_uri": f"{base}/revocations",
            "jwks_uri": f"{base}/.well-known/jwks.json",
            "grant_types_supported": sorted(grants),
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "revocation_endpoint_auth_methods_supported": [*WITH_SECRET, "none"],
            "introspection_endpoint_auth_methods_supported": WITH_SECRET,
        }

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["metadata"])
        well_known = "/.well-known/oauth-authorization-server"
        router.add_api_route(
            well_known, self.metadata, summary="The service's metadata (RFC 8414)", response_model=dict[str, Any]
        )
        if self._path:
            # RFC 8414, section 3: the well-known part stands before the issuer's path.
            router.add_api_route(well_known + self._path, self.metadata, include_in_schema=False)
        router.add_api_route("/.well-known/jwks.json", self.jwks, summary="The public keys", response_model=dict[str, Any])
        return router

    async def metadata(self) -> JSONResponse:
        return JSONResponse(self._metadata, headers={"Cache-Control": f"public, max-age={MAX_AGE}"})

    async def jwks(self) -> JSONResponse:
        try:
            return JSONResponse(self._ring.jwks, headers={"Cache-Control": f"public, max-age={MAX_AGE}"})
        except TemporarilyUnavailable as error:
            content = {"error": error.error, "error_description": error.description}
            return JSONResponse(content, 503, {"Retry-After": str(error.retry_after), "Cache-Control": "no-store"})
