"""The resource server: the FastAPI dependency that returns the caller of a request, or refuses the request.

auth = ResourceServer(issuer="https://auth.example.com", audience="orders", scopes={"orders:read": "Read orders"})

@app.get("/orders")
async def list_orders(caller: Annotated[Principal, auth.requires("orders:read")]): ...
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, FastAPI

from authmint.background import Job, running
from authmint.bearer_auth import AllowedSubject, AuthState, BearerAuth
from authmint.claims import TokenProfile
from authmint.errors import ConfigurationError
from authmint.events import Observer, guarded
from authmint.fetching import TIMEOUT
from authmint.issuers import Issuer, check_issuers, read_secret_file
from authmint.jose import Expectations
from authmint.key_sets import KeySet, RemoteKeySet, RevocableKeySet
from authmint.metadata import IssuerMetadata
from authmint.openapi import IssuerScheme, component_name, declare_errors
from authmint.principal import Principal
from authmint.protected_resource import metadata_endpoint, metadata_url
from authmint.revocation_list import RevocationCheck
from authmint.revocation_list_follower import RevocationListFollower
from authmint.scopes import check_scopes
from authmint.settings import Expected, check_types
from authmint.testing import Tokens
from authmint.token_verifier import TokenVerifier, TrustedIssuer

MAX_LEEWAY = 300

_TYPES: Expected = {
    "audience": (str | Sequence | Set, "a text, or a list of some"),
    "sole_audience": (bool, "True or False"),
    "scopes": (Mapping | None, "a mapping of each scope to its description"),
    "token_url": (str | None, "a URL"),
    "leeway": (int, "a whole number of seconds"),
    "max_lifetime": (int, "a whole number of seconds"),
    "cache_size": (int, "a whole number of tokens"),
    "revocation_list": (bool | RevocationCheck, "True, False, or an object that has the methods of RevocationCheck"),
    "scheme_name": (str | None, "a text"),
    "observer": (Callable | None, "a function"),
    "clock": (Callable | None, "a function"),
}


class ResourceServer(BearerAuth):
    """Verifies access tokens of its issuers for its audience.

    It is itself the dependency that allows any caller; `user`, `service` and `optional` are the other three.
    """

    def __init__(
        self,
        *,
        audience: str | Sequence[str],
        sole_audience: bool = False,
        issuer: str | None = None,
        issuers: Sequence[Issuer] = (),
        scopes: Mapping[str, str] | None = None,
        key_set: KeySet | None = None,
        jwks: Mapping[str, Any] | None = None,
        jwks_file: str | Path | None = None,
        shared_secret: str | bytes | None = None,
        profile: TokenProfile | None = None,
        token_url: str | None = None,
        leeway: int = 30,
        max_lifetime: int = 86_400,
        cache_size: int = 16_384,
        revocation_list: bool | RevocationCheck = False,
        revocation_list_fail: Literal["open", "closed"] = "open",
        scheme_name: str | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make no request yet. Raise ConfigurationError for settings that are wrong or contradict each other.

        `audience`: this service's name, as it stands in `aud`; or several, and a token for one of them is enough.
        `sole_audience`: refuse a token that is for another service as well, which could use it here.
        `issuer`: the issuer's URL, equal to the `iss` of its tokens to the character.
        `issuers`: instead of `issuer`, several, each with its own source of keys.
        `scopes`: the scopes of this service with a description of each, for OpenAPI.
        `key_set`, `jwks`, `jwks_file`, `shared_secret`: where keys come from, one of them at most; without, from the issuer.
        `profile`: `rfc9068` for another maker's issuer, whose services have their `client_id` as `sub`; see `Issuer`.
        `token_url`: the first issuer's token endpoint, for OpenAPI; without, the one in its metadata, or `<issuer>/token`.
        `leeway`: seconds that two clocks may be apart, 300 at most.
        `max_lifetime`: seconds from `iat` to `exp`.
        `cache_size`: verified tokens to cache, some 2 KB each; 0 verifies each token each time.
        `revocation_list`: follow the issuer's list from the first request on, and refuse revoked tokens; or an object that can.
        `revocation_list_fail`: when that list is a minute old: `open` trusts tokens all the same, `closed` responds 503.
        `scheme_name`: the name of the first issuer's security scheme in OpenAPI; without, it is made of audience and issuer.
        `observer`: called for every VerificationEvent, in the thread of a request or of a fetch: it must be quick.
        `clock`: for tests; seconds since the epoch, used for tokens and for keys.
        """
        check_types(locals(), _TYPES)
        sources = {"key_set": key_set, "jwks": jwks, "jwks_file": jwks_file, "shared_secret": shared_secret, "profile": profile}
        accepted = _issuers(issuer, issuers, {name: value for name, value in sources.items() if value is not None})
        self.audiences = (audience,) if isinstance(audience, str) else tuple(audience)
        _check(self.audiences, leeway, max_lifetime, cache_size, scopes or {}, revocation_list_fail)
        self.issuers, self.scopes = tuple(one.url for one in accepted), tuple(scopes or ())
        self._leeway, self._max_lifetime, self._sole_audience = leeway, max_lifetime, sole_audience
        self._clock = clock or time.time
        self._schemes = _schemes(self.issuers, scheme_name, self.audiences[0], token_url, scopes or {})
        self._token_url = token_url
        follow = partial(RevocationListFollower, clock=self._clock, fails_closed=revocation_list_fail == "closed")
        trusted = [self._trust(one, clock, guarded(observer), follow, revocation_list) for one in accepted]
        verifier = TokenVerifier(trusted, clock=self._clock, cache_size=cache_size, observer=observer)
        state = AuthState(verifier, list(self._schemes.values()), None if scopes is None else frozenset(scopes))
        super().__init__(state, allowed_subject=AllowedSubject.ANY, optional=False)
        self.user = BearerAuth(state, allowed_subject=AllowedSubject.USER, optional=False)
        self.service = BearerAuth(state, allowed_subject=AllowedSubject.SERVICE, optional=False)
        self.optional = BearerAuth(state, allowed_subject=AllowedSubject.ANY, optional=True)

    @classmethod
    def from_env(cls, prefix: str = "AUTHMINT_", **settings: Any) -> "ResourceServer":
        """Return a resource server from `AUTHMINT_ISSUER` and `AUTHMINT_AUDIENCE`, and, where they are set, `…_JWKS_FILE`,
        `…_SHARED_SECRET` (or `…_SHARED_SECRET_FILE`), `…_TOKEN_URL` and `…_LEEWAY` (seconds). Several audiences have commas
        between them. `settings` are those of the constructor.

        Raise ConfigurationError, naming the variable.
        """
        found: dict[str, Any] = {}
        for name in ("issuer", "audience", "jwks_file", "shared_secret", "token_url", "leeway"):
            value = os.environ.get(prefix + name.upper(), "").strip()
            if value:
                found[name] = value
        if file := os.environ.get(f"{prefix}SHARED_SECRET_FILE"):
            if "shared_secret" in found:
                raise ConfigurationError(f"{prefix}SHARED_SECRET and {prefix}SHARED_SECRET_FILE contradict each other.")
            found["shared_secret"] = read_secret_file(file, f"{prefix}SHARED_SECRET_FILE")
        for name in ("issuer", "audience"):
            if name not in found and name not in settings and "issuers" not in settings:
                raise ConfigurationError(f"{prefix}{name.upper()} is not set.")
        if "audience" in found:
            found["audience"] = [one.strip() for one in found["audience"].split(",")]
        if "leeway" in found:
            if not found["leeway"].isdecimal():
                raise ConfigurationError(f"{prefix}LEEWAY must be a number of seconds.")
            found["leeway"] = int(found["leeway"])
        return cls(**(found | settings))

    @property
    def revocation_list_age(self) -> float | None:
        """Seconds since the issuer read its database for the revocation list; of several issuers, the largest.

        None before the first list, and without `revocation_list=True`.
        """
        ages = [follower.age for follower in self._followers()]
        received = [age for age in ages if age is not None]
        return max(received) if received and len(received) == len(ages) else None

    async def verify(self, token: str) -> Principal:
        """Return the caller that `token` authenticates, without a web framework. Raise InvalidToken or IssuerUnavailable."""
        return await self._state.verifier.verify(token)

    def verify_sync(self, token: str) -> Principal:
        """Do the same without an event loop, in any thread: for Flask, Django, Celery. On an event loop it would block it."""
        return self._state.verifier.verify_sync(token)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Fetch the keys now and not with the first request, and stop fetching at the end. Nothing depends on it.

        Without keys the service starts, responds 503, and tries again.
        """
        async with running(self._jobs(), seconds=TIMEOUT):
            yield

    def problems(self) -> list[str]:
        """Return why tokens cannot be verified now, as sentences for operators; an empty list when they can.

        For a readiness check. It makes the service fetch: one that gets no request before it is ready would wait for ever.
        """
        for job in self._jobs():
            if not job.is_active:
                job.run()
        issuers = self._state.verifier.issuers.items()
        without_keys = [url for url, one in issuers if isinstance(one.keys, RemoteKeySet) and not one.keys.is_usable]
        found = [f"The keys of {url} are not fetched yet, or are too old." for url in without_keys]
        return found + [follower.problem for follower in self._followers() if follower.problem]

    def document(self, app: FastAPI) -> None:
        """Make the OpenAPI of `app` declare 401, 403 and 503 for each operation that this resource server protects.

        Routes may be added before and after. A response that a route declares itself stays as it is.
        """
        declare_errors(app, self.scheme_name)

    def metadata_router(self, resource: str) -> APIRouter:
        """Return a router that serves this service's metadata (RFC 9728), which challenges then name.

        Its path is `/.well-known/oauth-protected-resource`. `resource`: the URL of this service. Raise ConfigurationError.
        """
        url, path = metadata_url(resource)
        self._state.resource_metadata = url
        router = APIRouter()
        endpoint = metadata_endpoint(resource, self.issuers, sorted(self._state.scopes or ()))
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)
        return router

    @contextmanager
    def testing(self) -> Iterator[Tokens]:
        """Trust tokens of a throw-away key, and no others, inside the block: real verification, no server, no network.

        They name the first issuer; with `tokens.user(iss="https://…")` another."""
        verifier = self._state.verifier
        before = list(verifier.issuers.values())
        tokens = Tokens(issuer=self.issuers[0], audiences=self.audiences, leeway=self._leeway, clock=self._clock)
        each = [(self._expectations(url), one.profile) for url, one in verifier.issuers.items()]
        verifier.trust([TrustedIssuer(tokens.key_set, expected, profile=profile) for expected, profile in each])
        try:
            yield tokens
        finally:
            verifier.trust(before)

    def _jobs(self) -> list[Job]:
        trusted = self._state.verifier.issuers.values()
        jobs = [one.keys.job for one in trusted if isinstance(one.keys, RemoteKeySet)]
        return jobs + [follower.job for follower in self._followers()]

    def _followers(self) -> Sequence[RevocationListFollower]:
        lists = (trusted.revocation_list for trusted in self._state.verifier.issuers.values())
        return [follower for follower in lists if isinstance(follower, RevocationListFollower)]

    def _trust(
        self,
        issuer: Issuer,
        clock: Callable[[], float] | None,
        observer: Observer,
        follow: Callable[..., RevocationListFollower],
        check: bool | RevocationCheck,
    ) -> TrustedIssuer:
        keys = issuer.keys(clock=clock, observer=observer, on_metadata=self._show_token_endpoint)
        found = None if isinstance(check, bool) else check
        if check is True:
            if not isinstance(keys, RevocableKeySet):
                raise ConfigurationError("revocation_list needs a key_set that has revoke() and fetch_signer().")
            found = follow(issuer.url, keys, observer=observer)
        return TrustedIssuer(keys, self._expectations(issuer.url), found, issuer.profile)

    def _expectations(self, issuer: str) -> Expectations:
        return Expectations(
            issuer=issuer,
            audiences=frozenset(self.audiences),
            leeway=self._leeway,
            max_lifetime=self._max_lifetime,
            sole_audience=self._sole_audience,
        )

    def _show_token_endpoint(self, metadata: IssuerMetadata) -> None:
        if metadata.token_endpoint is not None and (self._token_url is None or metadata.issuer != self.issuers[0]):
            self._schemes[metadata.issuer].set_token_url(metadata.token_endpoint)


def _issuers(issuer: str | None, issuers: Sequence[Issuer], sources: dict[str, Any]) -> Sequence[Issuer]:
    if issuer is not None and issuers:
        raise ConfigurationError("issuer and issuers contradict each other: name one issuer, or list several.")
    if issuers and sources:
        raise ConfigurationError(f"issuers and {next(iter(sources))} contradict each other: each issuer has its own.")
    if issuer is not None:
        issuers = (Issuer(url=issuer, **sources),)
    check_issuers(issuers)
    return issuers


def _check(
    audiences: Sequence[object], leeway: int, max_lifetime: int, cache_size: int, scopes: Mapping[str, str], fail: str
) -> None:
    if not audiences or not all(isinstance(one, str) and one and one.isprintable() for one in audiences):
        raise ConfigurationError("audience must name this service, as it stands in the aud claim of its tokens.")
    if not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway must be 0 to {MAX_LEEWAY} seconds.")
    if max_lifetime < 1 or cache_size < 0:
        raise ConfigurationError("max_lifetime must be 1 second or more, and cache_size 0 tokens or more.")
    if not all(isinstance(description, str) for description in scopes.values()):
        raise ConfigurationError("scopes must have a description of each scope.")
    check_scopes(scopes)
    if fail not in {"open", "closed"}:
        raise ConfigurationError('revocation_list_fail must be "open" or "closed".')


def _schemes(
    issuers: Sequence[str], name: str | None, audience: str, token_url: str | None, scopes: Mapping[str, str]
) -> dict[str, IssuerScheme]:
    """Return the security scheme of each issuer."""
    if name is not None and (not name or name != component_name(name)):
        raise ConfigurationError("scheme_name must be letters, digits, dots, dashes and underscores.")
    names = [component_name(name or audience, issuer) for issuer in issuers]
    urls = [f"{issuer.rstrip('/')}/token" for issuer in issuers]
    names[0], urls[0] = name or names[0], token_url or urls[0]
    return {issuer: IssuerScheme(names[n], urls[n], scopes) for n, issuer in enumerate(issuers)}
