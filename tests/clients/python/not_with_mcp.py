"""The client of the MCP SDK wants an authorization endpoint in the metadata, also for the grant `client_credentials`."""

import httpx2
from given import given
from mcp.shared.auth import OAuthMetadata

OAuthMetadata.model_validate_json(httpx2.get(f"{given['issuer']}/.well-known/oauth-authorization-server").text)
