"""One route in several applications: open, protected by Authmint, and protected as others document it; small, and a real one.

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
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from authmint import ResourceServer, ResourceServerMiddleware

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


class Order(BaseModel):
    """As in the orders example."""

    item: str = Field(min_length=1, max_length=100)
    quantity: int = Field(default=1, ge=1, le=1000)
    id: int
    invoice: int | None = None


def application(dependency: Any = None, *, answer: Any = None) -> FastAPI:
    """A route that returns `answer`, by default the smallest there is, behind `dependency`."""
    app = FastAPI()
    answer = {"item": "tea"} if answer is None else answer
    returned: Any = dict[str, str] if isinstance(answer, dict) else list[Order]
    options = {"response_model": returned, "response_model_exclude_none": returned == list[Order]}
    if dependency is None:

        @app.get("/{way}", **options)
        async def opened(way: str) -> Any:
            return answer
    else:

        @app.get("/{way}", **options)
        async def closed(way: str, who: Annotated[Any, dependency]) -> Any:
            return answer

    return app


def create() -> Callable[[Scope, Receive, Send], Any]:
    """Every way, each at its own path."""
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks_file=Path(os.environ["BENCHMARK_JWKS"]))
    orders = [Order(item="A pound of coffee", quantity=2, id=number, invoice=1000 + number) for number in range(1, 21)]
    ways: dict[str, Any] = {
        "/open": application(),
        "/dependency": application(auth.requires(SCOPE)),
        "/nothing": application(Security(Empty(auth), scopes=[SCOPE])),
        "/middleware": ResourceServerMiddleware(application(), auth=auth, scopes=[SCOPE]),
        "/orders-open": application(answer=orders),
        "/orders-nothing": application(Security(Empty(auth), scopes=[SCOPE]), answer=orders),
        "/orders-dependency": application(auth.requires(SCOPE), answer=orders),
        "/orders-middleware": ResourceServerMiddleware(application(answer=orders), auth=auth, scopes=[SCOPE]),
        "/pyjwt": application(Depends(as_pyjwt())),
        "/tutorial": application(Security(as_tutorial(), scopes=[SCOPE])),
    }

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await ways[scope["path"]](scope, receive, send)

    return dispatch
