"""fastmcp's `IntrospectionTokenVerifier`."""

import asyncio

from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier
from given import given, validate

verifier = IntrospectionTokenVerifier(
    introspection_url=f"{given['issuer']}/introspect",
    client_id=given["client_id"],
    client_secret=given["client_secret"],
    audience="https://api.example.com/orders",
)


def verify(token: str) -> str | None:
    found = asyncio.run(verifier.verify_token(token))
    return found and found.claims["sub"]


validate(verify, tokens="tokens_for_url", step="validation_by_introspection")
