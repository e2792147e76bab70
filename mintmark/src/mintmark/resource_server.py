"""The FastAPI dependency: says who is calling, or refuses.

auth = ResourceServer(issuer="https://auth.example.com", audience="orders", scopes={"orders:read": "Read orders"})

@app.get("/orders")
async def orders(who: Annotated[Principal, auth.requires("orders:read")]): ...
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from fastapi import Security
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from mintmark.challenge import bearer_token, keys_unavailable, no_credentials, refusal
from mintmark.documents import Document, FetchError, check_url, fetch_document
from mintmark.errors import ConfigurationError, InsufficientScope, InvalidRequest, InvalidToken, KeysUnavailable
from mintmark.jose import Expectations
from mintmark.key_sets import KeySet, RemoteKeySet, StaticKeySet
from mintmark.metadata import IssuerMetadata, discover
from mintmark.principal import Principal
from mintmark.scopes import is_scope_token
from mintmark.token_verifier import TokenVerifier

LONGEST_LEEWAY = 300
_REMEMBERED = "mintmark.principals"


class Admits(Enum):
    """Whom a door lets in, by what the token says of its subject."""

    ANYONE = "Anyone with a valid token."
    USERS = "Only a person may do this."
    MACHINES = "Only a service acting for itself may do this."


class Door(SecurityBase):
    """A dependency that lets callers in. It is one stable object, so that `dependency_overrides[door]` works everywhere."""

    def __init__(
        self, verifier: TokenVerifier, scheme: OAuth2, *, scopes: frozenset[str] | None, admits: Admits, optional: bool
    ) -> None:
        self._verifier, self._scopes, self._admits, self._optional = verifier, scopes, admits, optional
        # FastAPI reads these two for OpenAPI; all doors of one server share them, so the scopes of an operation merge.
        self.model = scheme
        self.scheme_name = "Mintmark"

    def requires(self, *scopes: str) -> Any:
        """A parameter or router dependency that needs all of `scopes`.

        Raises ConfigurationError for a scope that the server's `scopes` do not list: most likely a typing error.
        """
        for scope in scopes:
            if not is_scope_token(scope) or (self._scopes is not None and scope not in self._scopes):
                raise ConfigurationError(f"The scope {scope!r} is not among the scopes of this ResourceServer.")
        return Security(self, scopes=scopes)

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> Principal | None:
        """The caller; None only from `optional`. Raises Refusal, an HTTPException, for HTTP and WebSocket alike."""
        required = frozenset(security_scopes.scopes)
        try:
            token = bearer_token(connection)
            if token is None:
                if self._optional:
                    return None
                raise no_credentials(required)
            principal = await self._principal(connection, token)
            self._check(principal, required)
        except KeysUnavailable as error:
            raise keys_unavailable(error) from error
        except (InvalidToken, InsufficientScope, InvalidRequest) as error:
            raise refusal(error) from error
        return principal

    async def _principal(self, connection: HTTPConnection, token: str) -> Principal:
        # FastAPI calls a security dependency once for each set of scopes; the token is the same each time.
        remembered: dict[TokenVerifier, Principal] = connection.scope.setdefault(_REMEMBERED, {})
        if self._verifier not in remembered:
            remembered[self._verifier] = await self._verifier.verify(token)
        return remembered[self._verifier]

    def _check(self, principal: Principal, required: frozenset[str]) -> None:
        if not required <= principal.scopes:
            raise InsufficientScope(required)
        admitted = {Admits.ANYONE: True, Admits.USERS: principal.is_user, Admits.MACHINES: principal.is_machine}
        if not admitted[self._admits]:
            raise InsufficientScope((), self._admits.value)


class ResourceServer(Door):
    """Verifies access tokens of one issuer for one audience. Itself the door for any caller; `user`, `machine` and `optional`
    are the other three.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        scopes: Mapping[str, str] | None = None,
        key_set: KeySet | None = None,
        jwks: Mapping[str, Any] | None = None,
        jwks_file: str | Path | None = None,
        token_url: str | None = None,
        leeway: int = 30,
        longest_lifetime: int = 86_400,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Asks nobody for anything yet. Raises ConfigurationError for settings that are wrong or contradict each other.

        `issuer`: the issuer's URL, equal to the `iss` of its tokens to the character.
        `audience`: this service's name, as it stands in `aud`.
        `scopes`: the scopes of this service with a description of each, for OpenAPI.
        `key_set`, `jwks`, `jwks_file`: where keys come from, one of them at most; without, from the issuer (RFC 8414).
        `token_url`: the token endpoint that OpenAPI names; without, the one in the issuer's metadata, or `<issuer>/token`.
        `leeway`: seconds that two clocks may be apart, 300 at most.
        `longest_lifetime`: seconds from `iat` to `exp`.
        `clock`: for tests; seconds, used for tokens and for keys.
        """
        self.issuer = check_url(issuer, "issuer")
        if not audience or not audience.isprintable():
            raise ConfigurationError("audience must name this service, as it stands in the aud claim of its tokens.")
        if not 0 <= leeway <= LONGEST_LEEWAY:
            raise ConfigurationError(f"leeway must be 0 to {LONGEST_LEEWAY} seconds.")
        self._metadata: IssuerMetadata | None = None
        keys = _pinned_keys(key_set, jwks, jwks_file) or RemoteKeySet(self._fetch_keys, clock=clock or time.monotonic)
        expected = Expectations(issuer=issuer, audience=audience, leeway=leeway, longest_lifetime=longest_lifetime)
        verifier = TokenVerifier(keys, expected, clock=clock or time.time)
        declared = None if scopes is None else frozenset(scopes)
        if declared is not None and not all(map(is_scope_token, declared)):
            raise ConfigurationError("scopes has a name with a space, a quote, a backslash or a character beyond ASCII.")
        self._token_url_is_known = token_url is not None
        scheme = _scheme(token_url or f"{issuer.rstrip('/')}/token", scopes or {})
        super().__init__(verifier, scheme, scopes=declared, admits=Admits.ANYONE, optional=False)
        self.user = Door(verifier, scheme, scopes=declared, admits=Admits.USERS, optional=False)
        self.machine = Door(verifier, scheme, scopes=declared, admits=Admits.MACHINES, optional=False)
        self.optional = Door(verifier, scheme, scopes=declared, admits=Admits.ANYONE, optional=True)

    async def verify(self, token: str) -> Principal:
        """The caller that `token` speaks for. Raises InvalidToken or KeysUnavailable; needs no web framework."""
        return await self._verifier.verify(token)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Fetches the keys before the first request, and keeps them fresh. Without keys the service starts and answers 503."""
        keys = self._verifier.keys
        if isinstance(keys, RemoteKeySet):
            async with keys.lifespan():
                yield
        else:
            yield

    async def _fetch_keys(self) -> Document:
        if self._metadata is None:
            self._metadata = await discover(self.issuer)
            self._show_token_endpoint(self._metadata)
        try:
            return await fetch_document(self._metadata.jwks_uri)
        except FetchError:
            # Perhaps the keys have moved: the next attempt asks where they are.
            self._metadata = None
            raise

    def _show_token_endpoint(self, metadata: IssuerMetadata) -> None:
        flows = self.model.flows if isinstance(self.model, OAuth2) else None
        if self._token_url_is_known or metadata.token_endpoint is None or flows is None:
            return
        for flow in (flows.password, flows.clientCredentials):
            if flow is not None:
                flow.tokenUrl = metadata.token_endpoint


def _pinned_keys(key_set: KeySet | None, jwks: Mapping[str, Any] | None, jwks_file: str | Path | None) -> KeySet | None:
    given = {"key_set": key_set, "jwks": jwks, "jwks_file": jwks_file}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ConfigurationError(f"{' and '.join(named)} contradict each other: the keys come from one place.")
    if key_set is not None:
        return key_set
    if jwks is not None:
        return StaticKeySet(jwks)
    return None if jwks_file is None else StaticKeySet(_read_jwks(Path(jwks_file)))


def _read_jwks(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"jwks_file {file} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"jwks_file {file} has no JWK set.")
    return content


def _scheme(token_url: str, scopes: Mapping[str, str]) -> OAuth2:
    listed = dict(scopes)
    return OAuth2(
        description="An access token (RFC 9068), sent as `Authorization: Bearer …`.",
        flows=OAuthFlows(
            password=OAuthFlowPassword(tokenUrl=token_url, scopes=listed),
            clientCredentials=OAuthFlowClientCredentials(tokenUrl=token_url, scopes=listed),
        ),
    )
