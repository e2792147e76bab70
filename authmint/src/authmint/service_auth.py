"""Service-to-service calls: an `auth=` for httpx2 and httpx clients, sync and async, that gets its own access token.

The first request that needs a token gets it (RFC 6749, section 4.4) through the caller's own client. Concurrent requests wait
for that response. In the last fifth of its life the token is renewed in the background, through another client: a request
that an auth flow yields delays the caller's request and fails with it, while the old token is still good.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2

from authmint.client_credentials import AccessToken, ClientCredentials, SecretMethod, ServiceAuthError
from authmint.errors import ConfigurationError
from authmint.fetching import TIMEOUT
from authmint.jose import SigningKey
from authmint.loopback import is_loopback

log = logging.getLogger("authmint.service_auth")

RENEWAL_PAUSE_SECONDS = 5.0
"""Seconds between two attempts to renew a token that is still good."""


def _auth_of_httpx() -> Any:
    """Return the base class that a client of httpx requires; `object` where httpx is not installed."""
    try:
        from httpx import Auth
    except ImportError:
        return object
    return Auth


class ServiceAuth(httpx2.Auth, _auth_of_httpx()):  # type: ignore[misc]  # the base class is known only at import
    """Authenticates the requests of one client with tokens for one audience and one set of scopes."""

    requires_request_body = False
    requires_response_body = False

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None = None,
        private_key: SigningKey | None = None,
        audience: str | None = None,
        scopes: Collection[str] = (),
        token_url: str | None = None,
        authentication_method: SecretMethod = "client_secret_basic",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make no request yet. Raise ConfigurationError.

        `issuer`: its URL.
        `client_secret`, or `private_key` to sign an assertion with instead (private_key_jwt, RFC 7523, section 2.2).
        `audience`: the service to be called, sent as `resource` (RFC 8707).
        `scopes`: the scopes of the token.
        `token_url`: the token endpoint; without, the one in the issuer's metadata.
        `authentication_method`: how the secret is sent.
        """
        self._credentials = ClientCredentials(
            issuer=issuer,
            client_id=client_id,
            client_secret=client_secret,
            private_key=private_key,
            audience=audience,
            scopes=scopes,
            token_url=token_url,
            authentication_method=authentication_method,
            clock=clock,
        )
        self._name = f"ServiceAuth({issuer}, client_id={client_id})"
        self._clock = clock
        self._token: AccessToken | None = None
        self._next_renewal = float("-inf")
        self._renewals: set[asyncio.Task[None]] = set()
        self._thread_lock = threading.Lock()
        # An asyncio lock belongs to one event loop, and a test suite has many.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return self._name

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Yield the requests of one call; the `Client` of httpx and of httpx2 calls this."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                with self._thread_lock:
                    exchange = self._exchange(type(request), refused)
                    token_request, token = _start(exchange)
                    while token is None:
                        response = yield token_request
                        response.read()
                        token_request, token = _advance(exchange, response)
            elif self._claim_renewal(token):
                threading.Thread(target=self._renew, args=(token,), daemon=True, name="authmint-background").start()
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Yield the requests of one call; the `AsyncClient` of httpx and of httpx2 calls this."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                async with self._lock():
                    exchange = self._exchange(type(request), refused)
                    token_request, token = _start(exchange)
                    while token is None:
                        response = yield token_request
                        await response.aread()
                        token_request, token = _advance(exchange, response)
            elif self._claim_renewal(token):
                renewal = asyncio.create_task(self._renew_async(token), name="authmint-background")
                self._renewals.add(renewal)
                renewal.add_done_callback(self._renewals.discard)
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    def _lock(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _usable(self, refused: AccessToken | None) -> AccessToken | None:
        """Return the current token, unless it is the one that was just refused, or has expired."""
        token = self._token
        return None if token is None or token is refused or self._clock() >= token.expires_at else token

    def _claim_renewal(self, token: AccessToken) -> bool:
        """Return whether this caller renews the token: once in each pause, in the last fifth of the token's life."""
        now = self._clock()
        if now < token.renew_at:
            return False
        with self._thread_lock:
            if now < self._next_renewal:
                return False
            self._next_renewal = now + RENEWAL_PAUSE_SECONDS
            return True

    async def _renew_async(self, old: AccessToken) -> None:
        with _log_failure():
            async with asyncio.timeout(TIMEOUT), httpx2.AsyncClient(**self._client_options()) as client:
                exchange = self._exchange(httpx2.Request, old)
                token_request, token = _start(exchange)
                while token is None:
                    token_request, token = _advance(exchange, await client.send(token_request))

    def _renew(self, old: AccessToken) -> None:
        with _log_failure(), httpx2.Client(**self._client_options()) as client:
            exchange = self._exchange(httpx2.Request, old)
            token_request, token = _start(exchange)
            while token is None:
                token_request, token = _advance(exchange, client.send(token_request))

    def _client_options(self) -> dict[str, Any]:
        # No proxy is used for loopback.
        trust_env = not is_loopback(urlsplit(self._credentials.url).hostname or "")
        return {"timeout": TIMEOUT, "follow_redirects": False, "trust_env": trust_env}

    def _exchange(self, new_request: Callable[..., Any], refused: AccessToken | None) -> Generator[Any, Any, AccessToken]:
        # The previous holder of the lock may have got one.
        token = self._usable(refused)
        if token is None:
            token = self._token = yield from self._credentials.exchange(new_request)
        return token


@contextmanager
def _log_failure() -> Iterator[None]:
    try:
        yield
    except (ServiceAuthError, ConfigurationError, httpx2.HTTPError, OSError) as error:
        log.warning("a token was not renewed, and is used until it expires: %s", str(error) or type(error).__name__)


def _start(exchange: Generator[Any, Any, AccessToken]) -> tuple[Any, AccessToken | None]:
    """Return the first request of an exchange, or the token that it ends with."""
    try:
        return next(exchange), None
    except StopIteration as done:
        return None, done.value


def _advance(exchange: Generator[Any, Any, AccessToken], response: Any) -> tuple[Any, AccessToken | None]:
    try:
        return exchange.send(response), None
    except StopIteration as done:
        return None, done.value


def _authorized(request: Any, token: AccessToken) -> Any:
    request.headers["Authorization"] = f"Bearer {token.text}"
    return request


def _refuses_the_token(response: Any) -> bool:
    # Only after this error can another token help (RFC 6750, section 3.1).
    challenge: str = response.headers.get("www-authenticate", "")
    return response.status_code == 401 and 'error="invalid_token"' in challenge
