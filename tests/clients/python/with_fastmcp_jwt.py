"""fastmcp's `JWTVerifier`: its default is RS256."""

import asyncio

from fastmcp.server.auth.providers.jwt import JWTVerifier
from given import given, validate

verifier = JWTVerifier(
    jwks_uri=f"{given['issuer']}/.well-known/jwks.json",
    issuer=given["issuer"],
    audience="https://api.example.com/orders",
    algorithm="ES256",
)


def verify(token: str) -> str | None:
    found = asyncio.run(verifier.verify_token(token))
    return found and found.claims["sub"]


validate(verify, tokens="tokens_for_url")
