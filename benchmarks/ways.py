"""One route in several applications: open, protected by Authmint, and protected as other projects document it; small and real.

All of them run in one server process, so that only the protection differs between requests.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from authmint import ResourceServer, ResourceServerMiddleware

ISSUER, AUDIENCE, SCOPE = "https://auth.example", "orders", "orders:read"


class Empty(SecurityBase):
    """A security dependency that does nothing: it shows the cost of FastAPI alone."""

    def __init__(self, like: SecurityBase) -> None:
        self.model, self.scheme_name = like.model, "Empty"

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> None:
        return None


class TokenData(BaseModel):
    """As in FastAPI's tutorial."""

    username: str
    scopes: list[str] = []


def as_tutorial() -> Callable[..., Any]:
    """FastAPI's tutorial, "OAuth2 scopes": HS256, the token decoded for each request. Its query for the user is left out."""
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


class Order(BaseModel):
    """As in the orders example."""

    item: str = Field(min_length=1, max_length=100)
    quantity: int = Field(default=1, ge=1, le=1000)
    id: int
    invoice: int | None = None


def application(dependency: Any = None, *, content: Any = None) -> FastAPI:
    """Return an application with one route behind `dependency`, which returns `content`, by default a small dict."""
    app = FastAPI()
    content = {"item": "tea"} if content is None else content
    model: Any = dict[str, str] if isinstance(content, dict) else list[Order]
    options = {"response_model": model, "response_model_exclude_none": model == list[Order]}
    if dependency is None:

        @app.get("/{way}", **options)
        async def unprotected(way: str) -> Any:
            return content
    else:

        @app.get("/{way}", **options)
        async def protected(way: str, principal: Annotated[Any, dependency]) -> Any:
            return content

    return app


def create() -> Callable[[Scope, Receive, Send], Any]:
    """Return an ASGI application with every way at its own path."""
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks_file=Path(os.environ["BENCHMARK_JWKS"]))
    orders = [Order(item="A pound of coffee", quantity=2, id=number, invoice=1000 + number) for number in range(1, 21)]
    ways: dict[str, Any] = {
        "/open": application(),
        "/dependency": application(auth.requires(SCOPE)),
        "/nothing": application(Security(Empty(auth), scopes=[SCOPE])),
        "/middleware": ResourceServerMiddleware(application(), auth=auth, scopes=[SCOPE]),
        "/orders-open": application(content=orders),
        "/orders-nothing": application(Security(Empty(auth), scopes=[SCOPE]), content=orders),
        "/orders-dependency": application(auth.requires(SCOPE), content=orders),
        "/orders-middleware": ResourceServerMiddleware(application(content=orders), auth=auth, scopes=[SCOPE]),
        "/pyjwt": application(Depends(as_pyjwt())),
        "/tutorial": application(Security(as_tutorial(), scopes=[SCOPE])),
    }

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await ways[scope["path"]](scope, receive, send)

    return dispatch
