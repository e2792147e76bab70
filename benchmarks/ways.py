"""One small route in several applications: open, protected by Mintmark, and protected as others document it.

All of them live in one server process, so that a request differs from another in its way alone.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from mintmark import ResourceServer, ResourceServerMiddleware

ISSUER, AUDIENCE, SCOPE = "https://auth.example", "orders", "orders:read"


class Empty(SecurityBase):
    """A security dependency that does nothing: what FastAPI itself takes for having one."""

    def __init__(self, like: SecurityBase) -> None:
        self.model, self.scheme_name = like.model, "Empty"

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> None:
        return None


class TokenData(BaseModel):
    """As in FastAPI's tutorial."""

    username: str
    scopes: list[str] = []


def as_tutorial() -> Callable[..., Any]:
    """FastAPI's tutorial, "OAuth2 scopes": HS256, the token decoded for each request. Its look-up of the user is left out."""
    secret = os.environ["BENCHMARK_SECRET"]
    oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", scopes={SCOPE: "Read orders"})

    async def get_current_user(security_scopes: SecurityScopes, token: Annotated[str, Depends(oauth2_scheme)]) -> TokenData:
        try:
            payload = jwt.decode(token, secret, algorithms=["HS256"], audience=AUDIENCE)
            token_data = TokenData(username=payload["sub"], scopes=payload.get("scope", "").split(" "))
        except (jwt.InvalidTokenError, KeyError) as error:
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from error
        for scope in security_scopes.scopes:
            if scope not in token_data.scopes:
                raise HTTPException(401, "Not enough permissions", headers={"WWW-Authenticate": "Bearer"})
        return token_data

    return get_current_user


def as_pyjwt() -> Callable[..., Any]:
    """PyJWT's documentation, "Retrieve RSA signing keys from a JWKS endpoint". `def`, because its client blocks."""
    client = jwt.PyJWKClient(os.environ["BENCHMARK_JWKS_URL"])
    oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")

    def get_claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
        try:
            key = client.get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.PyJWTError as error:
            raise HTTPException(401) from error
        return claims

    return get_claims


def application(dependency: Any = None) -> FastAPI:
    """The route, behind `dependency`."""
    app = FastAPI()
    if dependency is None:

        @app.get("/{way}")
        async def opened(way: str) -> dict[str, str]:
            return {"item": "tea"}
    else:

        @app.get("/{way}")
        async def closed(way: str, who: Annotated[Any, dependency]) -> dict[str, str]:
            return {"item": "tea"}

    return app


def create() -> Callable[[Scope, Receive, Send], Any]:
    """Every way, each at its own path."""
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks_file=Path(os.environ["BENCHMARK_JWKS"]))
    ways: dict[str, Any] = {
        "/open": application(),
        "/dependency": application(auth.requires(SCOPE)),
        "/nothing": application(Security(Empty(auth), scopes=[SCOPE])),
        "/middleware": ResourceServerMiddleware(application(), door=auth, scopes=[SCOPE]),
        "/pyjwt": application(Depends(as_pyjwt())),
        "/tutorial": application(Security(as_tutorial(), scopes=[SCOPE])),
    }

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await ways[scope["path"]](scope, receive, send)

    return dispatch
