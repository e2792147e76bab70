"""Find an issuer's endpoints (RFC 8414; OpenID Connect Discovery 1.0 as the fallback)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from authmint.errors import ConfigurationError
from authmint.fetching import FetchError, check_url, fetch_document
from authmint.loopback import is_loopback


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """The members of an issuer's metadata that a resource server needs. Of the URLs only `jwks_uri` spoils all if it is bad."""

    issuer: str
    jwks_uri: str | None
    """None: it publishes no keys, as with a shared secret."""
    token_endpoint: str | None
    revocation_list_uri: str | None = None
    """The URL of its revocation list: a member of Authmint's own."""
    key_history_uri: str | None = None
    """The URL of the history of its keys: a member of Authmint's own as well."""


async def discover(issuer: str) -> IssuerMetadata:
    """Return the metadata that `issuer` publishes. Raise FetchError."""
    reasons = []
    for url in metadata_urls(issuer):
        try:
            return read_metadata((await fetch_document(url)).members, issuer)
        except FetchError as error:
            reasons.append(f"{url}: {error}")
    raise FetchError("; ".join(reasons))


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return the URLs of an issuer's metadata, the likely ones first.

    The well-known part comes before the issuer's path (RFC 8414, section 3) or after it (OpenID Connect Discovery, section 4).
    Each name is looked for in both places (RFC 8414, section 5): a proxy that removes a path serves only what is below it.
    """
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    urls = f"{oauth}{path}", f"{path}{openid}", f"{path}{oauth}", f"{openid}{path}"
    return tuple(dict.fromkeys(origin + url for url in urls))


def read_metadata(members: dict[str, Any], issuer: str) -> IssuerMetadata:
    """Return the typed members of `issuer`'s metadata. Raise FetchError."""
    # RFC 8414, section 3.3: equal to the character, or the document is another issuer's.
    if members.get("issuer") != issuer:
        raise FetchError("the metadata names another issuer")
    jwks_uri = members.get("jwks_uri")
    if jwks_uri is not None:
        check_named_url(jwks_uri, "jwks_uri", issuer)
    others = ("token_endpoint", "revocation_list_uri", "key_history_uri")
    return IssuerMetadata(issuer, jwks_uri, *(_usable(members, name, issuer) for name in others))


def check_named_url(url: object, name: str, named_by: str) -> str:
    """Return `url`, which the server at `named_by` named, if it may be requested. Raise FetchError."""
    if not isinstance(url, str):
        raise FetchError(f"the metadata's {name} is no text")
    try:
        named, source = urlsplit(check_url(url, name)), urlsplit(named_by)
    except ConfigurationError as error:
        raise FetchError(str(error)) from error
    # A server elsewhere must not choose what is requested of this computer, nor an https one give up https.
    is_local = is_loopback(named.hostname or "") and not is_loopback(source.hostname or "")
    if is_local or (source.scheme, named.scheme) == ("https", "http"):
        raise FetchError(f"{name} must be an https URL and not on this computer, as {named_by} is")
    return url


def _usable(members: dict[str, Any], name: str, issuer: str) -> str | None:
    try:
        return check_named_url(members.get(name), name, issuer)
    except FetchError:
        return None
