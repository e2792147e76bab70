"""Web origins, as browsers send them in the header Origin (RFC 6454)."""

from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_origin(text: str) -> bool:
    """Return whether it is `scheme://host[:port]` of http or https, to the character as a browser writes it, and no pattern."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in DEFAULT_PORTS or not host or not text.isascii() or any(sign in host for sign in "*%,; "):
        return False
    # A browser leaves out the default port of the scheme, so an origin with it would never match.
    suffix = "" if port in {None, DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return text == f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{suffix}"


def are_of_different_sites(one: str, other: str) -> bool:
    """Return whether two URLs are surely of different sites, so that pages of one send no SameSite cookie of the other.

    Scheme and host count, the port does not. Some different sites are not recognised: only the public suffix list says that
    `co.uk` is no site.
    """
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, _site(first.hostname or "")) != (second.scheme, _site(second.hostname or ""))


def _site(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return ".".join(host.split(".")[-2:])
