"""Service-to-service calls: an `auth=` for httpx2 and httpx clients, sync and async, that gets its own access token.

The first request that needs a token gets it (RFC 6749, section 4.4) through the caller's own client. All others of the process,
in threads and on event loops alike, wait for that response. In the last fifth of its life the token is renewed in the
background thread, through another client: a request that an auth flow yields delays the caller's request and fails with it,
while the old token is still good.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from concurrent import futures
from contextlib import suppress
from typing import Any

import httpx2

from authmint.background import Job, wait_at_most
from authmint.client_credentials import AccessToken, AsyncBody, ClientCredentials, SecretMethod, ServiceAuthError, SyncBody
from authmint.elapsed_time import ElapsedTime
from authmint.errors import ConfigurationError
from authmint.fetching import TIMEOUT, new_client
from authmint.jose import SigningKey
from authmint.turns import Turn, Turns

log = logging.getLogger("authmint.service_auth")

# RFC 9110, section 11.2: the value may stand without quotes, and there may be spaces at the equals sign.
_INVALID_TOKEN = re.compile(r'(?:^|[\s,])error\s*=\s*"?invalid_token\b', re.IGNORECASE)

RENEWAL_PAUSE_SECONDS = 5.0
"""Seconds between two attempts to renew a token that is still good."""
MAX_WAIT_SECONDS = 5.0
"""A request waits no longer for the token that another one gets. Then it gets one itself."""


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
        origins: Collection[str] = (),
        token_url: str | None = None,
        authentication_method: SecretMethod = "client_secret_basic",
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make no request yet. Raise ConfigurationError.

        `issuer`: its URL.
        `client_secret`, or `private_key` to sign an assertion with instead (private_key_jwt, RFC 7523, section 2.2).
        `audience`: the service to be called, sent as `resource` (RFC 8707).
        `scopes`: the scopes of the token.
        `origins`: where the token is sent, and nowhere else, as `https://billing.example.com`; without, to the origin of the
        first request. A request to any other raises ServiceAuthError.
        `token_url`: the token endpoint; without, the one in the issuer's metadata.
        `authentication_method`: how the secret is sent.
        """
        clock = clock or ElapsedTime()
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
        self._origins = frozenset(map(_read_origin, origins))
        self._name = f"ServiceAuth({issuer}, client_id={client_id})"
        self._clock = clock
        self._token: AccessToken | None = None
        self._next_renewal = float("-inf")
        self._renewal = Job(self._renew)
        self._turns = Turns()

    def __repr__(self) -> str:
        return self._name

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Yield the requests of one call; the `Client` of httpx and of httpx2 calls this."""
        self._check_origin(request.url)
        refused: AccessToken | None = None
        for is_last in (False, True):
            last_wait = time.monotonic() + MAX_WAIT_SECONDS
            while (token := self._usable(refused)) is None:
                turn, is_mine = self._turns.claim()
                if not is_mine and (seconds := last_wait - time.monotonic()) > 0:
                    futures.wait([turn], seconds)
                    _raise_error_of(turn)
                    continue
                with self._turns.take(turn if is_mine else Turn()):
                    exchange = self._exchange(type(request), SyncBody, refused)
                    token_request, token = _start(exchange)
                    while token is None:
                        response = yield token_request
                        response.read()
                        token_request, token = _advance(exchange, response)
            self._renew_if_due(token)
            response = yield _authorized(request, token)
            if is_last or not self._may_retry(request, token, response):
                return
            refused = token

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Yield the requests of one call; the `AsyncClient` of httpx and of httpx2 calls this."""
        self._check_origin(request.url)
        refused: AccessToken | None = None
        for is_last in (False, True):
            last_wait = time.monotonic() + MAX_WAIT_SECONDS
            while (token := self._usable(refused)) is None:
                turn, is_mine = self._turns.claim()
                if not is_mine and (seconds := last_wait - time.monotonic()) > 0:
                    await wait_at_most(seconds, turn)
                    _raise_error_of(turn)
                    continue
                with self._turns.take(turn if is_mine else Turn()):
                    exchange = self._exchange(type(request), AsyncBody, refused)
                    token_request, token = _start(exchange)
                    while token is None:
                        response = yield token_request
                        await response.aread()
                        token_request, token = _advance(exchange, response)
            self._renew_if_due(token)
            response = yield _authorized(request, token)
            if is_last or not self._may_retry(request, token, response):
                return
            refused = token

    def _check_origin(self, url: Any) -> None:
        """Raise ServiceAuthError for a URL that must not get the token: a link in a response may lead anywhere."""
        origin = _origin(url)
        self._origins = self._origins or frozenset({origin})
        if origin not in self._origins:
            target = f"{url.scheme}://{url.netloc.decode('ascii')}"
            raise ServiceAuthError(f"No token is sent to {target}. If it is to get one, name it in `origins`.")

    def _may_retry(self, request: Any, token: AccessToken, response: Any) -> bool:
        """Return whether to send the request again with another token. If it cannot be, the next request gets one."""
        if not _refuses_the_token(response):
            return False
        is_repeatable = _is_repeatable(request)
        if not is_repeatable and self._token is token:
            self._token = None
        return is_repeatable

    def _usable(self, refused: AccessToken | None) -> AccessToken | None:
        """Return the current token, unless it is the one that was just refused, or has expired."""
        token = self._token
        return None if token is None or token is refused or self._clock() >= token.expires_at else token

    def _renew_if_due(self, token: AccessToken) -> None:
        """Renew the token in the last fifth of its life: one attempt at a time, and a pause between two."""
        if max(token.renew_at, self._next_renewal) <= self._clock() and not self._renewal.is_running:
            self._renewal.run()

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT), new_client(self._credentials.url) as client:
                exchange = self._exchange(httpx2.Request, AsyncBody, self._token)
                token_request, token = _start(exchange)
                while token is None:
                    token_request, token = _advance(exchange, await client.send(token_request))
        except (ServiceAuthError, ConfigurationError, httpx2.HTTPError, OSError) as error:
            log.warning("a token was not renewed, and is used until it expires: %s", str(error) or type(error).__name__)
        self._next_renewal = self._clock() + RENEWAL_PAUSE_SECONDS

    def _exchange(
        self, new_request: Callable[..., Any], new_body: Callable[[bytes], object], refused: AccessToken | None
    ) -> Generator[Any, Any, AccessToken]:
        # The previous holder of the lock may have got one.
        token = self._usable(refused)
        if token is None:
            token = self._token = yield from self._credentials.exchange(new_request, new_body)
        return token


def _raise_error_of(turn: Turn) -> None:
    """Raise the error that ended another caller's turn. One that was cancelled, or had no connection, ended without one."""
    error = turn.exception() if turn.done() else None
    if error is not None:
        raise type(error)(*error.args) from error


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
    return response.status_code == 401 and _INVALID_TOKEN.search(challenge) is not None


def _is_repeatable(request: Any) -> bool:
    """Return whether the same body can be sent again. An iterator or a file that was sent is empty, and httpx sends that."""
    with suppress(RuntimeError):  # RequestNotRead: the body is not in memory.
        return request.content is not None
    # A multipart form: its files are read from the start again, those that can be.
    parts = getattr(request.stream, "fields", ())
    files = [part.file for part in parts if hasattr(part, "file")]
    return bool(parts) and all(isinstance(one, str | bytes) or (hasattr(one, "seekable") and one.seekable()) for one in files)


def _origin(url: Any) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _read_origin(text: str) -> tuple[str, str, int | None]:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ConfigurationError("origins has something that is not a URL.") from error
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.raw_path != b"/" or url.fragment:
        raise ConfigurationError("origins are scheme, host and port alone, as https://billing.example.com.")
    return _origin(url)
