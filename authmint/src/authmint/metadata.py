"""Find an issuer's endpoints (RFC 8414; OpenID Connect Discovery 1.0 as the fallback)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from authmint.errors import ConfigurationError
from authmint.fetching import FetchError, check_url, fetch_document


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """The members of an issuer's metadata that a resource server needs."""

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
            document = await fetch_document(url)
        except FetchError as error:
            reasons.append(f"{url}: {error}")
        else:
            return read_metadata(document.members, issuer)
    raise FetchError("; ".join(reasons))


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return the URLs of an issuer's metadata: in RFC 8414, section 3, the well-known part comes before the issuer's path."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def read_metadata(members: dict[str, Any], issuer: str) -> IssuerMetadata:
    """Return the typed members of `issuer`'s metadata. Raise FetchError."""
    # RFC 8414, section 3.3: equal to the character, or the document is another issuer's.
    if members.get("issuer") != issuer:
        raise FetchError("the metadata names another issuer")
    jwks_uri = members.get("jwks_uri")
    if jwks_uri is not None:
        _check_jwks_uri(jwks_uri)
    return IssuerMetadata(
        issuer, jwks_uri, *(_text(members, name) for name in ("token_endpoint", "revocation_list_uri", "key_history_uri"))
    )


def _check_jwks_uri(jwks_uri: object) -> None:
    if not isinstance(jwks_uri, str):
        raise FetchError("the metadata's jwks_uri is no text")
    try:
        check_url(jwks_uri, "jwks_uri")
    except ConfigurationError as error:
        raise FetchError(str(error)) from error


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) else None
