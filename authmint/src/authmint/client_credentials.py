"""Get a token in a client's own name (RFC 6749, section 4.4), through any HTTP client.

The exchange is a generator: it yields requests and is sent the responses, so that one piece of code serves clients of httpx2
and httpx, sync and async.
"""

import base64
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

from authmint.errors import ConfigurationError
from authmint.fetching import FetchError, check_url
from authmint.jose import JWTSigner, SigningKey, read_json_object
from authmint.metadata import metadata_urls, read_metadata
from authmint.scopes import check_scopes, format_scope

MAX_BYTES = 65_536
ASSERTION_SECONDS = 60
FRESH = 0.8
MAX_LIFETIME = 366 * 86_400

_ERROR = re.compile(r"[a-z_]{1,64}")
_REDIRECTS = "The token endpoint redirects, which is not followed: credentials go to that URL alone."

SecretMethod = Literal["client_secret_basic", "client_secret_post"]


class ServiceAuthError(Exception):
    """There is no token, so no request was sent. The message says why; it holds no secret."""


class SyncBody:
    """A body that is sent once: a client that follows redirects would send the secret in it to another server."""

    def __init__(self, content: bytes) -> None:
        self._rest = [content]

    def __iter__(self) -> Iterator[bytes]:
        if not self._rest:
            raise ServiceAuthError(_REDIRECTS)
        yield self._rest.pop()


class AsyncBody:
    """The same for an asynchronous client, which takes no other."""

    def __init__(self, content: bytes) -> None:
        self._body = SyncBody(content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._body:
            yield part


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token of this client. Times are those of the clock that was given."""

    text: str
    renew_at: float
    expires_at: float


class ClientCredentials:
    """One client, and the audience and scopes of its tokens. Raise ConfigurationError for settings that cannot work."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        private_key: SigningKey | None,
        audience: str | None,
        scopes: Collection[str],
        token_url: str | None,
        authentication_method: SecretMethod,
        clock: Callable[[], float],
    ) -> None:
        self._issuer = check_url(issuer, "issuer")
        self._token_url = None if token_url is None else check_url(token_url, "token_url")
        if not client_id or not (client_secret or private_key):
            raise ConfigurationError("client_id, and client_secret or private_key, must not be empty.")
        if client_secret and private_key:
            raise ConfigurationError("client_secret and private_key contradict each other: a client authenticates in one way.")
        if not isinstance(audience, str | None):
            raise ConfigurationError("audience must be one text: each service that is called has a ServiceAuth of its own.")
        self._client_id, self._client_secret = client_id, client_secret or ""
        self._authentication_method = authentication_method
        self._signer = None if private_key is None else JWTSigner(private_key)
        self._form = {"grant_type": "client_credentials"}
        if check_scopes(scopes):
            self._form["scope"] = format_scope(scopes)
        if audience is not None:
            self._form["resource"] = audience
        self._clock = clock

    @property
    def url(self) -> str:
        """The URL of the next request, or the issuer's as long as the token endpoint is unknown."""
        return self._token_url or self._issuer

    def exchange(
        self, new_request: Callable[..., Any], new_body: Callable[[bytes], object]
    ) -> Generator[Any, Any, AccessToken]:
        """Yield requests, receive the responses (their bodies read), and return a token. Raise ServiceAuthError.

        `new_request`: the request class of the client that sends them; `new_body`: SyncBody or AsyncBody, as it needs.
        """
        if self._token_url is None:
            self._token_url = yield from self._discover(new_request)
        sent_at = self._clock()
        response = yield self._token_request(new_request, new_body, self._token_url)
        return _read_token(response, sent_at)

    def _discover(self, new_request: Callable[..., Any]) -> Generator[Any, Any, str]:
        for url in metadata_urls(self._issuer):
            response = yield new_request("GET", url, headers={"Accept": "application/json"})
            if response.status_code == 200 and not _was_redirected(response):
                with suppress(FetchError):
                    if found := read_metadata(_members(response), self._issuer).token_endpoint:
                        return found
        raise ServiceAuthError(
            f"The metadata of {self._issuer} cannot be fetched, is another issuer's, or has no token_endpoint that may be used."
        )

    def _token_request(self, new_request: Callable[..., Any], new_body: Callable[[bytes], object], url: str) -> Any:
        form, headers = dict(self._form), {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._signer is not None:
            form |= self._assertion(self._signer, url)
        elif self._authentication_method == "client_secret_post":
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        else:
            # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            credentials = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        content = urlencode(form).encode()
        headers["Content-Length"] = str(len(content))
        return new_request("POST", url, content=new_body(content), headers=headers)

    def _assertion(self, signer: JWTSigner, url: str) -> dict[str, str]:
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


def _was_redirected(response: Any) -> bool:
    # The history of a response holds every response before it, those to refused tokens and metadata as well.
    return any(300 <= one.status_code < 400 for one in (response, *response.history))


def _members(response: Any) -> dict[str, Any]:
    if len(response.content) > MAX_BYTES:
        return {}
    try:
        return read_json_object(response.content)
    except ValueError:
        return {}


def _read_token(response: Any, sent_at: float) -> AccessToken:
    if _was_redirected(response):
        raise ServiceAuthError(_REDIRECTS)
    members = _members(response)
    if response.status_code != 200:
        error = members.get("error")
        code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "no OAuth error"
        raise ServiceAuthError(f"The token endpoint answered {response.status_code} ({code}).")
    text, kind, lifetime = members.get("access_token"), members.get("token_type"), members.get("expires_in", 60)
    if not isinstance(text, str) or not text.isascii() or not isinstance(kind, str) or kind.lower() != "bearer":
        raise ServiceAuthError("The token endpoint answered 200 without a bearer token.")
    if not isinstance(lifetime, int | float) or not 0 < lifetime < MAX_LIFETIME:
        raise ServiceAuthError("The token endpoint answered with an invalid lifetime.")
    # The jitter keeps processes that started together from renewing together.
    renew_at = sent_at + lifetime * random.uniform(FRESH, FRESH + 0.05)  # noqa: S311 - spreads load, guards nothing
    return AccessToken(text, renew_at, sent_at + lifetime)
