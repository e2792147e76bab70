"""The metadata that a resource server publishes about itself (RFC 9728)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from authmint.fetching import check_url

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_url(resource: str) -> tuple[str, str]:
    """Return the URL of a resource's metadata and its path: the well-known part comes first (RFC 9728, section 3.1)."""
    parts = urlsplit(check_url(resource, "resource"))
    path = WELL_KNOWN + parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}", path


def metadata_endpoint(resource: str, issuers: Sequence[str], scopes: Sequence[str]) -> Callable[[], Awaitable[JSONResponse]]:
    """Return an endpoint that responds with the metadata (RFC 9728, section 2)."""
    content: dict[str, Any] = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "bearer_methods_supported": ["header"],
    }
    # A member without elements must be left out (RFC 9728, section 3.2).
    if scopes:
        content["scopes_supported"] = list(scopes)

    async def metadata() -> JSONResponse:
        return JSONResponse(content, headers={"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"})

    return metadata
