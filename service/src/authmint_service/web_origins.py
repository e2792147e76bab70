"""Where a page comes from, as a browser says it in the header Origin (RFC 6454)."""

from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def is_origin(text: str) -> bool:
    """Whether it is `scheme://host[:port]` of http or https, to the character as a browser writes it, and no pattern."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in DEFAULT_PORTS or not host or not text.isascii() or any(sign in host for sign in "*%,; "):
        return False
    # A browser leaves out the port that the scheme stands for; so an origin with it would never fit.
    suffix = "" if port in {None, DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return text == f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{suffix}"


def are_of_different_sites(one: str, other: str) -> bool:
    """Whether a browser surely takes two URLs for different sites: it keeps a SameSite cookie of one from pages of the other.

    Scheme and host count, the port does not. Some pairs that differ are not known here: that `co.uk` is nobody's site is
    written in a public list alone.
    """
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, _site(first.hostname or "")) != (second.scheme, _site(second.hostname or ""))


def _site(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return ".".join(host.split(".")[-2:])
