"""Fetch a JSON document from an issuer, within limits: 3 seconds, 64 KB, status 200, no redirect, https unless on loopback.

Requests may wait for such a document, so it gets no more time than that; and a larger one is not a key set.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2

from authmint.elapsed_time import ElapsedTime
from authmint.errors import ConfigurationError
from authmint.jose import read_json_object
from authmint.loopback import is_loopback

TIMEOUT = 3.0
MAX_BYTES = 65_536
FROZEN_SECONDS = 2.0
"""How late a failure may be."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})\"?(?:$|[\s,])", re.IGNORECASE)


class FetchError(Exception):
    """The document could not be fetched. The message says why, in a few words, for logs."""


@dataclass(frozen=True, slots=True)
class JSONDocument:
    """A JSON object, and the `max-age` of its response, in seconds."""

    members: dict[str, Any]
    max_age: int | None


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """A response within the limits. The names in `headers` may be upper or lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def max_age(self) -> int | None:
        """Seconds for which it may be cached (RFC 9111, section 5.2.2.1)."""
        found = _MAX_AGE.search(self.headers.get("cache-control", ""))
        return int(found[1]) if found else None

    @property
    def retry_after(self) -> int | None:
        """Seconds after which the next request is welcome (RFC 9110, section 10.2.3)."""
        value = self.headers.get("retry-after", "")
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= 9 else None

    def document(self) -> JSONDocument:
        """Return the JSON object in it. Raise FetchError unless the status is 200."""
        if self.status != 200:
            raise FetchError(f"status {self.status}")
        try:
            return JSONDocument(read_json_object(self.content), self.max_age)
        except ValueError as error:
            raise FetchError(str(error)) from error


def check_url(url: object, name: str) -> str:
    """Return `url` itself, if it is https, or http on loopback. Raise ConfigurationError, naming it `name`."""
    if not isinstance(url, str):
        raise ConfigurationError(f"{name} must be a text, a URL.")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{name} is not a URL.") from error
    if not host or parts.username or parts.fragment or not url.isprintable() or " " in url:
        raise ConfigurationError(f"{name} is not a URL with a host and without user and fragment.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError(f"{name} must be an https URL (http is for loopback addresses only).")
    return url


async def fetch_document(url: str) -> JSONDocument:
    """Return the JSON object at `url`. Raise FetchError."""
    return (await fetch(url)).document()


async def fetch(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float = TIMEOUT,
    transfer_seconds: float = 0.0,
    max_bytes: int = MAX_BYTES,
) -> FetchedResponse:
    """Return the response of `url`, whatever its status. Raise FetchError when there is none within the limits.

    `seconds`: until the response begins, and for the whole of it; `transfer_seconds`: more for a response that has begun.
    A failure that comes later than it can says nothing of the issuer: the process was frozen, and fetches again.
    """
    while True:
        elapsed = ElapsedTime()
        due = elapsed() + seconds
        try:
            async with (
                asyncio.timeout(seconds) as limit,
                new_client(check_url(url, "the address"), seconds) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                due += transfer_seconds
                limit.reschedule(asyncio.get_running_loop().time() + due - elapsed())
                return FetchedResponse(response.status_code, response.headers, await _read(response, max_bytes))
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, ConfigurationError) as error:
            if elapsed() < due + FROZEN_SECONDS:
                reason = "no response in time" if isinstance(error, TimeoutError) else str(error)
                raise FetchError(reason or type(error).__name__) from error


def new_client(url: str, seconds: float = TIMEOUT) -> httpx2.AsyncClient:
    """Return a client for `url` that follows no redirect. For loopback it uses no proxy, and SSL_CERT_FILE all the same."""
    parts = urlsplit(url)
    # A compressed response could unpack to any size, so none is accepted.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    # Without TLS there is nothing to trust; to load the authorities takes 20 ms of CPU.
    trusted = _certificate_authorities() if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust_env = not is_loopback(parts.hostname or "")
    return httpx2.AsyncClient(headers=headers, follow_redirects=False, timeout=seconds, trust_env=trust_env, verify=trusted)


@cache
def _certificate_authorities() -> ssl.SSLContext:
    """Return what a certificate is verified with: those that the process found when it fetched first."""
    return httpx2.create_ssl_context()


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > max_bytes:
            raise FetchError(f"larger than {max_bytes} bytes")
    return bytes(content)
