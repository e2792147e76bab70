"""Service-to-service calls: an `auth=` for httpx2 and httpx clients, sync and async, that brings its own access token.

The token is asked for (RFC 6749, section 4.4) through the caller's own client, by the first request that needs one. Others
that come meanwhile wait for that answer. In the last fifth of its life it is renewed in the background, through a client of our
own: what an auth flow yields holds its request up and fails with it, and the old token is still good.
"""

import asyncio
import base64
import logging
import random
import re
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode, urlsplit
from weakref import WeakKeyDictionary

import httpx2

from mintmark.documents import TIMEOUT, check_url, is_loopback
from mintmark.errors import ConfigurationError
from mintmark.jose import Signer, SigningKey, read_json_object
from mintmark.metadata import metadata_urls
from mintmark.scopes import format_scope, is_scope_token

log = logging.getLogger("mintmark.service_auth")

LARGEST = 65_536
ASSERTION_SECONDS = 60
FRESH = 0.8
RENEWAL_PAUSE = 5.0
"""Seconds between two attempts to renew a token that is still good."""
LONGEST_LIFETIME = 366 * 86_400

_ERROR = re.compile(r"[a-z_]{1,64}")


class ServiceAuthError(Exception):
    """No token could be had, so no request was sent. The message says why; it holds no secret."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float
    expires_at: float


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
        method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic",
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
        self._issuer = check_url(issuer, "issuer")
        self._token_url = None if token_url is None else check_url(token_url, "token_url")
        if not client_id or not (client_secret or private_key):
            raise ConfigurationError("client_id, and client_secret or private_key, must not be empty.")
        if client_secret and private_key:
            raise ConfigurationError("client_secret and private_key contradict each other: a client authenticates in one way.")
        if not all(map(is_scope_token, scopes)):
            raise ConfigurationError("scopes has a name with a space, a quote, a backslash or a character beyond ASCII.")
        self._client_id, self._client_secret, self._method = client_id, client_secret or "", method
        self._signer = None if private_key is None else Signer(private_key)
        self._form = {"grant_type": "client_credentials"}
        if scopes:
            self._form["scope"] = format_scope(scopes)
        if audience is not None:
            self._form["resource"] = audience
        self._clock = clock
        self._token: _Token | None = None
        self._next_renewal = float("-inf")
        self._renewals: set[asyncio.Task[None]] = set()
        self._thread_lock = threading.Lock()
        # An asyncio lock belongs to one event loop, and a test suite has many.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"ServiceAuth({self._issuer}, client_id={self._client_id})"

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        refused: _Token | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                with self._thread_lock:
                    exchange = self._exchange(type(request), refused)
                    question, token = _start(exchange)
                    while token is None:
                        answer = yield question
                        answer.read()
                        question, token = _go_on(exchange, answer)
            elif self._is_to_be_renewed(token):
                threading.Thread(target=self._renew, args=(token,), daemon=True, name="mintmark: renews a token").start()
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        refused: _Token | None = None
        for is_last in (False, True):
            token = self._usable(refused)
            if token is None:
                async with self._lock():
                    exchange = self._exchange(type(request), refused)
                    question, token = _start(exchange)
                    while token is None:
                        answer = yield question
                        await answer.aread()
                        question, token = _go_on(exchange, answer)
            elif self._is_to_be_renewed(token):
                renewal = asyncio.create_task(self._renew_async(token), name="mintmark: renews a token")
                self._renewals.add(renewal)
                renewal.add_done_callback(self._renewals.discard)
            response = yield _authorized(request, token)
            if is_last or not _refuses_the_token(response):
                return
            refused = token

    def _lock(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def _usable(self, refused: _Token | None) -> _Token | None:
        """The token at hand, unless it is the one that was just refused, or has expired."""
        token = self._token
        return None if token is None or token is refused or self._clock() >= token.expires_at else token

    def _is_to_be_renewed(self, token: _Token) -> bool:
        """Whether this caller is the one to renew it: True once in each pause, for a token in the last fifth of its life."""
        now = self._clock()
        if now < token.renew_at:
            return False
        with self._thread_lock:
            if now < self._next_renewal:
                return False
            self._next_renewal = now + RENEWAL_PAUSE
            return True

    async def _renew_async(self, old: _Token) -> None:
        with _failing_quietly():
            async with asyncio.timeout(TIMEOUT), httpx2.AsyncClient(**self._renewing()) as client:
                exchange = self._exchange(httpx2.Request, old)
                question, token = _start(exchange)
                while token is None:
                    question, token = _go_on(exchange, await client.send(question))

    def _renew(self, old: _Token) -> None:
        with _failing_quietly(), httpx2.Client(**self._renewing()) as client:
            exchange = self._exchange(httpx2.Request, old)
            question, token = _start(exchange)
            while token is None:
                question, token = _go_on(exchange, client.send(question))

    def _renewing(self) -> dict[str, Any]:
        # A proxy has no business on the way to loopback.
        trust_env = not is_loopback(urlsplit(self._token_url or self._issuer).hostname or "")
        return {"timeout": TIMEOUT, "follow_redirects": False, "trust_env": trust_env}

    def _exchange(self, new_request: Callable[..., Any], refused: _Token | None) -> Generator[Any, Any, _Token]:
        """Yields what is to be sent, is sent the answers (their bodies read), and returns a token. Raises ServiceAuthError.

        `new_request`: the request class of the client that sends them.
        """
        token = self._usable(refused)
        if token is not None:
            return token
        if self._token_url is None:
            self._token_url = yield from self._discover(new_request)
        asked_at = self._clock()
        answer = yield self._question(new_request, self._token_url)
        self._token = _read_token(answer, asked_at)
        return self._token

    def _discover(self, new_request: Callable[..., Any]) -> Generator[Any, Any, str]:
        for url in metadata_urls(self._issuer):
            answer = yield new_request("GET", url, headers={"Accept": "application/json"})
            members = _members(answer)
            if answer.status_code == 200 and not _was_redirected(answer) and members.get("issuer") == self._issuer:
                return check_url(str(members.get("token_endpoint")), "token_endpoint")
        raise ServiceAuthError(f"The metadata of {self._issuer} cannot be had, or is another issuer's.")

    def _question(self, new_request: Callable[..., Any], url: str) -> Any:
        form, headers = dict(self._form), {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._signer is not None:
            form |= self._assertion(self._signer, url)
        elif self._method == "client_secret_post":
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        else:
            # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            credentials = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        return new_request("POST", url, content=urlencode(form).encode(), headers=headers)

    def _assertion(self, signer: Signer, url: str) -> dict[str, str]:
        now = int(time.time())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": url,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        return {
            "client_id": self._client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": signer.sign(claims, typ="JWT"),
        }


@contextmanager
def _failing_quietly() -> Iterator[None]:
    try:
        yield
    except (ServiceAuthError, ConfigurationError, httpx2.HTTPError, OSError) as error:
        log.warning("a token was not renewed, and serves until it expires: %s", str(error) or type(error).__name__)


def _start(exchange: Generator[Any, Any, _Token]) -> tuple[Any, _Token | None]:
    """The first question of an exchange, or the token it ends with."""
    try:
        return next(exchange), None
    except StopIteration as done:
        return None, done.value


def _go_on(exchange: Generator[Any, Any, _Token], answer: Any) -> tuple[Any, _Token | None]:
    try:
        return exchange.send(answer), None
    except StopIteration as done:
        return None, done.value


def _authorized(request: Any, token: _Token) -> Any:
    request.headers["Authorization"] = f"Bearer {token.text}"
    return request


def _refuses_the_token(response: Any) -> bool:
    # Only this error says that another token may help (RFC 6750, section 3.1).
    challenge: str = response.headers.get("www-authenticate", "")
    return response.status_code == 401 and 'error="invalid_token"' in challenge


def _was_redirected(answer: Any) -> bool:
    # The history of a response holds every answer before it, refused tokens and metadata as well.
    return any(300 <= one.status_code < 400 for one in (answer, *answer.history))


def _members(answer: Any) -> dict[str, Any]:
    if len(answer.content) > LARGEST:
        return {}
    try:
        return read_json_object(answer.content)
    except ValueError:
        return {}


def _read_token(answer: Any, asked_at: float) -> _Token:
    if _was_redirected(answer):
        raise ServiceAuthError("The token endpoint redirects, which is not followed: credentials stay where they belong.")
    members = _members(answer)
    if answer.status_code != 200:
        error = members.get("error")
        said = error if isinstance(error, str) and _ERROR.fullmatch(error) else "no OAuth error"
        raise ServiceAuthError(f"The token endpoint answered {answer.status_code} ({said}).")
    text, kind, lifetime = members.get("access_token"), members.get("token_type"), members.get("expires_in", 60)
    if not isinstance(text, str) or not text.isascii() or not isinstance(kind, str) or kind.lower() != "bearer":
        raise ServiceAuthError("The token endpoint answered 200 without a bearer token.")
    if not isinstance(lifetime, int | float) or not 0 < lifetime < LONGEST_LIFETIME:
        raise ServiceAuthError("The token endpoint answered with a lifetime that is none.")
    # Jitter keeps processes that started together from renewing together.
    renew_at = asked_at + lifetime * random.uniform(FRESH, FRESH + 0.05)  # noqa: S311 - spreads load, guards nothing
    return _Token(text, renew_at, asked_at + lifetime)
