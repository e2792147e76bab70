"""The FastAPI dependency: says who is calling, or refuses.

auth = ResourceServer(issuer="https://auth.example.com", audience="orders", scopes={"orders:read": "Read orders"})

@app.get("/orders")
async def orders(who: Annotated[Principal, auth.requires("orders:read")]): ...
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows

from authmint.bearer_auth import AllowedSubject, AuthState, BearerAuth
from authmint.errors import ConfigurationError
from authmint.events import Observer, guarded
from authmint.issuers import Issuer, check_issuers
from authmint.jose import Expectations
from authmint.key_sets import KeySet, RemoteKeySet
from authmint.metadata import IssuerMetadata
from authmint.principal import Principal
from authmint.protected_resource import describe, metadata_url
from authmint.revocation_list import Revocations
from authmint.scopes import is_scope_token
from authmint.testing import Tokens
from authmint.token_verifier import TokenVerifier, TrustedIssuer

MAX_LEEWAY = 300


class ResourceServer(BearerAuth):
    """Verifies access tokens of its issuers for one audience. Itself the door for any caller; `user`, `machine` and `optional`
    are the other three.
    """

    def __init__(
        self,
        *,
        audience: str,
        issuer: str | None = None,
        issuers: Sequence[Issuer] = (),
        scopes: Mapping[str, str] | None = None,
        key_set: KeySet | None = None,
        jwks: Mapping[str, Any] | None = None,
        jwks_file: str | Path | None = None,
        shared_secret: str | bytes | None = None,
        token_url: str | None = None,
        leeway: int = 30,
        max_lifetime: int = 86_400,
        token_cache: int = 16_384,
        revocations: bool = False,
        revocation_list_fail: Literal["open", "closed"] = "open",
        observer: Observer | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Asks nobody for anything yet. Raises ConfigurationError for settings that are wrong or contradict each other.

        `audience`: this service's name, as it stands in `aud`.
        `issuer`: the issuer's URL, equal to the `iss` of its tokens to the character.
        `issuers`: instead of `issuer`, several, each with its own source of keys.
        `scopes`: the scopes of this service with a description of each, for OpenAPI.
        `key_set`, `jwks`, `jwks_file`, `shared_secret`: where keys come from, one of them at most; without, from the issuer.
        `token_url`: the token endpoint that OpenAPI names; without, the one in the issuer's metadata, or `<issuer>/token`.
        `leeway`: seconds that two clocks may be apart, 300 at most.
        `max_lifetime`: seconds from `iat` to `exp`.
        `token_cache`: verified tokens that are remembered, some 2 KB each; 0 verifies each token each time.
        `revocations`: follow the issuer's list of revocations in the background (needs `lifespan`), and refuse what is on it.
        `revocation_list_fail`: when that list cannot be had for a minute: `open` believes tokens, `closed` answers 503.
        `observer`: hears of every event (see `Event`), in the request's own thread: it must be quick.
        `clock`: for tests; seconds, used for tokens and for keys.
        """
        sources = {"key_set": key_set, "jwks": jwks, "jwks_file": jwks_file, "shared_secret": shared_secret}
        believed = _issuers(issuer, issuers, {name: value for name, value in sources.items() if value is not None})
        _check(audience, leeway, scopes)
        self.issuers, self.audience, self.scopes = tuple(one.url for one in believed), audience, tuple(scopes or ())
        self._leeway, self._longest_lifetime, self._clock = leeway, max_lifetime, clock or time.time
        self._token_url_is_known = token_url is not None
        observe = guarded(observer)
        trusted = []
        for one in believed:
            keys = one.keys(clock=clock, observer=observe, on_metadata=self._show_token_endpoint)
            follower = Revocations(one.url, keys, clock=self._clock, fails_closed=revocation_list_fail == "closed")
            trusted.append(TrustedIssuer(keys, self._expectations(one.url), follower if revocations else None))
        verifier = TokenVerifier(trusted, clock=self._clock, cache_size=token_cache, observer=observe)
        scheme = _scheme(token_url or f"{self.issuers[0].rstrip('/')}/token", scopes or {})
        reception = AuthState(verifier, scheme, None if scopes is None else frozenset(scopes))
        super().__init__(reception, admits=AllowedSubject.ANYONE, optional=False)
        self.user = BearerAuth(reception, admits=AllowedSubject.USERS, optional=False)
        self.machine = BearerAuth(reception, admits=AllowedSubject.MACHINES, optional=False)
        self.optional = BearerAuth(reception, admits=AllowedSubject.ANYONE, optional=True)

    @classmethod
    def from_env(cls, prefix: str = "AUTHMINT_", **settings: Any) -> "ResourceServer":
        """A resource server from `AUTHMINT_ISSUER` and `AUTHMINT_AUDIENCE`, and, where they are set, `…_JWKS_FILE`,
        `…_SHARED_SECRET`, `…_TOKEN_URL` and `…_LEEWAY` (seconds). `settings` are those of the constructor.

        Raises ConfigurationError, naming the variable.
        """
        found: dict[str, Any] = {}
        for name in ("issuer", "audience", "jwks_file", "shared_secret", "token_url", "leeway"):
            value = os.environ.get(prefix + name.upper(), "").strip()
            if value:
                found[name] = value
        for name in ("issuer", "audience"):
            if name not in found and name not in settings and "issuers" not in settings:
                raise ConfigurationError(f"{prefix}{name.upper()} is not set.")
        if "leeway" in found:
            if not found["leeway"].isdecimal():
                raise ConfigurationError(f"{prefix}LEEWAY must be a number of seconds.")
            found["leeway"] = int(found["leeway"])
        return cls(**(found | settings))

    @property
    def revocation_list_age(self) -> float | None:
        """Seconds since the lists of revocations were heard of, the stalest of several issuers'.

        None before the first time, and without `revocations=True`.
        """
        followed = [trusted.revocations.age for trusted in self._reception.verifier.issuers.values() if trusted.revocations]
        ages = [age for age in followed if age is not None]
        return max(ages) if ages and len(ages) == len(followed) else None

    async def verify(self, token: str) -> Principal:
        """The caller that `token` speaks for. Raises InvalidToken or IssuerUnavailable; needs no web framework."""
        return await self._reception.verifier.verify(token)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Fetches the keys before the first request, and keeps them fresh. Without keys the service starts and answers 503."""
        async with AsyncExitStack() as stack:
            for trusted in self._reception.verifier.issuers.values():
                if isinstance(trusted.keys, RemoteKeySet):
                    await stack.enter_async_context(trusted.keys.lifespan())
                if trusted.revocations is not None:
                    await stack.enter_async_context(trusted.revocations.lifespan())
            yield

    def metadata_routes(self, resource: str) -> APIRouter:
        """A router that describes this service at `/.well-known/oauth-protected-resource` (RFC 9728); challenges then name it.

        `resource`: the URL of this service. Raises ConfigurationError.
        """
        url, path = metadata_url(resource)
        self._reception.resource_metadata = url
        scopes = self._reception.scopes
        router = APIRouter()
        router.add_api_route(path, describe(resource, self.issuers, sorted(scopes or ())), include_in_schema=False)
        return router

    @contextmanager
    def testing(self) -> Iterator[Tokens]:
        """Inside the block tokens of a throw-away key are good, and no others: real verification, no server, no network."""
        verifier = self._reception.verifier
        before = list(verifier.issuers.values())
        tokens = Tokens(issuer=self.issuers[0], audience=self.audience, leeway=self._leeway, clock=self._clock)
        verifier.trust([TrustedIssuer(tokens.key_set, self._expectations(self.issuers[0]))])
        try:
            yield tokens
        finally:
            verifier.trust(before)

    def _expectations(self, issuer: str) -> Expectations:
        return Expectations(issuer=issuer, audience=self.audience, leeway=self._leeway, max_lifetime=self._longest_lifetime)

    def _show_token_endpoint(self, metadata: IssuerMetadata) -> None:
        flows = self._reception.scheme.flows
        if self._token_url_is_known or metadata.token_endpoint is None or metadata.issuer != self.issuers[0]:
            return
        for flow in (flows.password, flows.clientCredentials):
            if flow is not None:
                flow.tokenUrl = metadata.token_endpoint


def _issuers(issuer: str | None, issuers: Sequence[Issuer], sources: dict[str, Any]) -> Sequence[Issuer]:
    if issuer is not None and issuers:
        raise ConfigurationError("issuer and issuers contradict each other: name one issuer, or list several.")
    if issuers and sources:
        raise ConfigurationError(f"issuers and {next(iter(sources))} contradict each other: each issuer has its own keys.")
    if issuer is not None:
        issuers = (Issuer(url=issuer, **sources),)
    check_issuers(issuers)
    return issuers


def _check(audience: str, leeway: int, scopes: Mapping[str, str] | None) -> None:
    if not audience or not audience.isprintable():
        raise ConfigurationError("audience must name this service, as it stands in the aud claim of its tokens.")
    if not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway must be 0 to {MAX_LEEWAY} seconds.")
    if scopes is not None and not all(map(is_scope_token, scopes)):
        raise ConfigurationError("scopes has a name with a space, a quote, a backslash or a character beyond ASCII.")


def _scheme(token_url: str, scopes: Mapping[str, str]) -> OAuth2:
    listed = dict(scopes)
    return OAuth2(
        description="An access token (RFC 9068), sent as `Authorization: Bearer …`.",
        flows=OAuthFlows(
            password=OAuthFlowPassword(tokenUrl=token_url, scopes=listed),
            clientCredentials=OAuthFlowClientCredentials(tokenUrl=token_url, scopes=listed),
        ),
    )
