"""Service-to-service calls: an `auth=` for httpx2 and httpx clients, sync and async, that brings its own access token.

The token is asked for (RFC 6749, section 4.4) through the caller's own client, by the first request that needs one. Others
that come meanwhile wait for that answer. In the last fifth of its life it is renewed in the background, through a client of our
own: what an auth flow yields holds its request up and fails with it, and the old token is still good.
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

RENEWAL_PAUSE = 5.0
"""Seconds between two attempts to renew a token that is still good."""


def _auth_of_httpx() -> Any:
    """The base class that a client of httpx wants to see. Where httpx is missing, nobody wants it."""
    try:
        from httpx import Auth
    except ImportError:
        return object
    return Auth


class ServiceAuth(httpx2.Auth, _auth_of_httpx()):  # type: ignore[misc]  # which class it is turns out when it is imported
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
        method: SecretMethod = "client_secret_basic",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks nobody for anything yet. Raises ConfigurationError.

        `issuer`: its URL.
        `client_secret`, or `private_key` to sign an assertion with instead (private_key_jwt, RFC 7523, section 2.2).
        `audience`: the service to be called, sent as `resource` (RFC 8707).
        `scopes`: what the token shall allow.
        `token_url`: the token endpoint, if the issuer's metadata shall not be asked for it.
        `method`: how the secret is sent.
        """
        self._credentials = ClientCredentials(
            issuer=issuer,
            client_id=client_id,
            client_secret=client_secret,
            private_key=private_key,
            audience=audience,
            scopes=scopes,
            token_url=token_url,
            method=method,
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
        """What httpx's and httpx2's `Client` call for each request."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                with self._thread_lock:
                    exchange = self._exchange(type(request), refused)
                    question, token = _start(exchange)
                    while token is None:
                        answer = yield question
                        answer.read()
                        question, token = _advance(exchange, answer)
            elif self._claim_renewal(token):
                threading.Thread(target=self._renew, args=(token,), daemon=True, name="authmint: renews a token").start()
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """What their `AsyncClient` calls for each request."""
        refused: AccessToken | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                async with self._lock():
                    exchange = self._exchange(type(request), refused)
                    question, token = _start(exchange)
                    while token is None:
                        answer = yield question
                        await answer.aread()
                        question, token = _advance(exchange, answer)
            elif self._claim_renewal(token):
                renewal = asyncio.create_task(self._renew_async(token), name="authmint: renews a token")
                self._renewals.add(renewal)
                renewal.add_done_callback(self._renewals.discard)
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    def _lock(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _usable(self, refused: AccessToken | None) -> AccessToken | None:
        """The token at hand, unless it is the one that was just refused, or has expired."""
        token = self._token
        return None if token is None or token is refused or self._clock() >= token.expires_at else token

    def _claim_renewal(self, token: AccessToken) -> bool:
        """Whether this caller is the one to renew it: True once in each pause, for a token in the last fifth of its life."""
        now = self._clock()
        if now < token.renew_at:
            return False
        with self._thread_lock:
            if now < self._next_renewal:
                return False
            self._next_renewal = now + RENEWAL_PAUSE
            return True

    async def _renew_async(self, old: AccessToken) -> None:
        with _log_failure():
            async with asyncio.timeout(TIMEOUT), httpx2.AsyncClient(**self._renewing()) as client:
                exchange = self._exchange(httpx2.Request, old)
                question, token = _start(exchange)
                while token is None:
                    question, token = _advance(exchange, await client.send(question))

    def _renew(self, old: AccessToken) -> None:
        with _log_failure(), httpx2.Client(**self._renewing()) as client:
            exchange = self._exchange(httpx2.Request, old)
            question, token = _start(exchange)
            while token is None:
                question, token = _advance(exchange, client.send(question))

    def _renewing(self) -> dict[str, Any]:
        # A proxy has no business on the way to loopback.
        trust_env = not is_loopback(urlsplit(self._credentials.url).hostname or "")
        return {"timeout": TIMEOUT, "follow_redirects": False, "trust_env": trust_env}

    def _exchange(self, new_request: Callable[..., Any], refused: AccessToken | None) -> Generator[Any, Any, AccessToken]:
        # Whoever had the lock before may have brought one.
        token = self._usable(refused)
        if token is None:
            token = self._token = yield from self._credentials.exchange(new_request)
        return token


@contextmanager
def _log_failure() -> Iterator[None]:
    try:
        yield
    except (ServiceAuthError, ConfigurationError, httpx2.HTTPError, OSError) as error:
        log.warning("a token was not renewed, and serves until it expires: %s", str(error) or type(error).__name__)


def _start(exchange: Generator[Any, Any, AccessToken]) -> tuple[Any, AccessToken | None]:
    """The first question of an exchange, or the token it ends with."""
    try:
        return next(exchange), None
    except StopIteration as done:
        return None, done.value


def _advance(exchange: Generator[Any, Any, AccessToken], answer: Any) -> tuple[Any, AccessToken | None]:
    try:
        return exchange.send(answer), None
    except StopIteration as done:
        return None, done.value


def _authorized(request: Any, token: AccessToken) -> Any:
    request.headers["Authorization"] = f"Bearer {token.text}"
    return request


def _refuses_the_token(response: Any) -> bool:
    # Only this error says that another token may help (RFC 6750, section 3.1).
    challenge: str = response.headers.get("www-authenticate", "")
    return response.status_code == 401 and 'error="invalid_token"' in challenge
