"""The OpenAPI document's own schemas, and the documentation page, which loads nothing from another origin."""

import json
import re
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from authmint_service.endpoints import health, responses
from authmint_service.endpoints.account import password, sessions
from authmint_service.endpoints.oauth import openapi
from authmint_service.grants import GrantRegistry

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Authmint token service</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """\
const ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  // What *Authorize* sends: its token is for these routes. Other requests stay as they are.
  requestInterceptor: (request) => {
    if (typeof request.body === "string" && request.headers["X-Requested-With"]) {
      request.body += "&resource=" + encodeURIComponent(%s);
    }
    return request;
  },
});
ui.initOAuth(%s);
"""
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def add_schemas(app: FastAPI, registry: GrantRegistry) -> None:
    """Add the schemas that routes refer to by name. FastAPI itself adds those of its `response_model`s."""
    of_grants = openapi.grant_schemas(registry)
    generate = app.openapi

    def generate_with_schemas() -> dict[str, Any]:
        document = generate()
        components = document["components"]
        schemas = components.setdefault("schemas", {})
        schemas.update(responses.SCHEMAS | openapi.SCHEMAS | of_grants)
        schemas.update(sessions.SCHEMAS | password.SCHEMAS | health.SCHEMAS)
        for scheme in components.get("securitySchemes", {}).values():
            _remove_flows(scheme, registry)
        return document

    app.openapi = generate_with_schemas  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _remove_flows(scheme: dict[str, Any], registry: GrantRegistry) -> None:
    """Remove the flows whose grants are not offered. OpenAPI calls them as RFC 6749 does, in camel case."""
    flows = scheme.get("flows", {})
    for flow in list(flows):
        if re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", flow) not in registry.names:
            del flows[flow]


class DocsEndpoints:
    """Serve Swagger UI, as the package `fastapi-swagger` contains it."""

    def __init__(self, issuer: str, client_id: str) -> None:
        """`client_id`: what *Authorize* proposes; may be empty."""
        parts = urlsplit(issuer)
        # Scripts may connect to this origin and to the issuer, which may be the same server under another name.
        self._policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {parts.scheme}://{parts.netloc}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._start = _START % (json.dumps(issuer), json.dumps({"clientId": client_id} if client_id else {}))

    def routes(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/docs", self.page, response_model=None)
        router.add_api_route("/docs/start.js", self.start, response_model=None)
        resources = files("fastapi_swagger").joinpath("resources")
        for name, media_type in _ASSETS.items():
            router.add_api_route(f"/docs/{name}", _Asset(resources.joinpath(name).read_bytes(), media_type).serve, name=name)
        return router

    async def page(self) -> Response:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": self._policy})

    async def start(self) -> Response:
        return Response(self._start, media_type="text/javascript")


class _Asset:
    def __init__(self, content: bytes, media_type: str) -> None:
        self._content, self._media_type = content, media_type

    async def serve(self) -> Response:
        return Response(self._content, media_type=self._media_type, headers={"Cache-Control": "public, max-age=3600"})
