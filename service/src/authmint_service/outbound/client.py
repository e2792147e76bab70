"""The one HTTP client that goes out: bounded in time, bytes and headers, without redirects, proxies and cookies."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import SplitResult, urlsplit

import httpx2

from authmint_service import __version__
from authmint_service.outbound.addresses import is_public, read_canonical

MAX_HEADER_BYTES = 16 * 1024
MAX_ADDRESSES = 4
"""Addresses of a name that are tried."""
MAX_LOOKUPS = 4
"""Names that are resolved at a time. A resolver that hangs keeps its thread, and must not take those of others."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class OutboundError(Exception):
    """There is no response within the limits, or the URL is refused. The message says why, for the log alone."""


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """A response. It is shown to no one: at most the class of its status may be told."""

    status: int
    content: bytes = field(repr=False)


class Outbound:
    """Sends requests. Close it when done."""

    def __init__(self, allowed_hosts: Collection[str] = (), *, resolve: Resolve | None = None) -> None:
        """`allowed_hosts`: `host:port` of receivers whose address may be private; `resolve` returns addresses of a name."""
        self._allowed = frozenset(allowed_hosts)
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="outbound names")
        self._resolve = resolve or self._look_up

    def close(self) -> None:
        """Wait for no lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        seconds: float,
        max_bytes: int,
    ) -> OutboundResponse:
        """Return the response of `url`, whatever its status; a redirect is one. Raise OutboundError.

        `seconds`: for everything, the lookup of the name included; `max_bytes`: of the body.
        """
        try:
            async with asyncio.timeout(seconds):
                parts = _split(url)
                addresses = await self._judged_addresses(parts)
                tls = await asyncio.to_thread(_trust)
                return await _send_to_first(addresses, _Request(method, parts, headers or {}, content, max_bytes, tls))
        except TimeoutError as error:
            raise OutboundError("no response in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise OutboundError(str(error) or type(error).__name__) from error

    async def _judged_addresses(self, parts: SplitResult) -> Sequence[str]:
        """Return the addresses to connect to. One that is not public condemns the name: its owner chooses the order."""
        host, port = parts.hostname or "", parts.port or 443
        known = read_canonical(host)
        texts = [str(known)] if known is not None else await self._resolve(host, port)
        literal = f"[{host}]" if ":" in host else host
        if f"{literal}:{port}" not in self._allowed and not all(is_public(ipaddress.ip_address(text)) for text in texts):
            raise OutboundError("the address is not public; see AUTHMINT_OUTBOUND_ALLOWED_HOSTS")
        if not texts:
            raise OutboundError("the name has no address")
        return texts[:MAX_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    parts: SplitResult
    headers: Mapping[str, str]
    content: bytes
    max_bytes: int
    tls: ssl.SSLContext


async def _send_to_first(addresses: Sequence[str], request: _Request) -> OutboundResponse:
    """Send to the first address that takes a connection: nothing is sent twice."""
    for address in addresses[:-1]:
        try:
            return await _send(address, request)
        except httpx2.ConnectError:
            continue
    return await _send(addresses[-1], request)


async def _send(address: str, request: _Request) -> OutboundResponse:
    parts = request.parts
    # The URL has the address that was judged, so nothing is resolved again. TLS and Host have the name.
    literal = f"[{address}]" if ":" in address else address
    url = parts._replace(netloc=f"{literal}:{parts.port or 443}").geturl()
    headers = {
        "accept-encoding": "identity", "user-agent": f"authmint-service/{__version__}", **request.headers, "host": parts.netloc,
    }  # fmt: skip
    transport = httpx2.AsyncHTTPTransport(verify=request.tls, trust_env=False)
    async with (
        httpx2.AsyncClient(transport=transport, follow_redirects=False, trust_env=False, timeout=None) as client,
        client.stream(
            request.method, url, headers=headers, content=request.content or None, extensions={"sni_hostname": parts.hostname}
        ) as response,
    ):
        if sum(len(name) + len(value) for name, value in response.headers.raw) > MAX_HEADER_BYTES:
            raise OutboundError(f"the headers are larger than {MAX_HEADER_BYTES} bytes")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > request.max_bytes:
                raise OutboundError(f"the response is larger than {request.max_bytes} bytes")
        return OutboundResponse(response.status_code, bytes(content))


def _split(url: str) -> SplitResult:
    """Return the parts of an https URL. Raise ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError("the URL is not an https URL with a host and without user and fragment")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or "%" in parts.netloc:
        raise ValueError("the URL has characters that a URL does not have")
    return parts


@cache
def _trust() -> ssl.SSLContext:
    """Return what certificates are verified with: those of the system, or of SSL_CERT_FILE."""
    return httpx2.create_ssl_context()
