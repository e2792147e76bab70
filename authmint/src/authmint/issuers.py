"""The issuers that a resource server trusts, and where the keys of each come from."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from authmint.claims import TokenProfile
from authmint.errors import ConfigurationError
from authmint.events import Observer
from authmint.fetching import FetchError, JSONDocument, check_url, fetch_document
from authmint.jose import SharedSecretKey
from authmint.key_sets import KeySet, RemoteKeySet, SharedSecretKeySet, StaticKeySet
from authmint.metadata import IssuerMetadata, discover
from authmint.settings import Expected, check_types

_TYPES: Expected = {
    "key_set": (KeySet | None, "an object that has the methods of KeySet"),
    "jwks": (Mapping | None, "a JWK set: a mapping with the list keys"),
    "jwks_file": (str | Path | None, "the path of a file"),
    "shared_secret": (str | bytes | None, "a text or bytes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer, and one source of its keys at most; without one they are fetched, as its metadata says (RFC 8414).

    Raise ConfigurationError when the URL is invalid, when sources contradict each other, or when one has no usable key.
    """

    url: str
    """Equal to the `iss` of its tokens to the character."""
    key_set: KeySet | None = None
    # Equal issuers have equal URLs: that is enough for a hash, which a dict does not have.
    jwks: Mapping[str, Any] | None = field(default=None, hash=False)
    """A JWK set (RFC 7517)."""
    jwks_file: str | Path | None = None
    shared_secret: str | bytes | None = field(default=None, repr=False)
    """HS256 with 32 random bytes or more, for the smallest set-up: a service that can verify can also sign."""
    profile: TokenProfile | None = None
    """How its tokens say who a user is and who a service: by `sub_profile` (`authmint`, the default), or by `sub`, which is the
    `client_id` of a service (`rfc9068`): for other issuers that follow RFC 9068, and where no person can choose such a name."""

    def __post_init__(self) -> None:
        check_url(self.url, "issuer")
        settings = {name: getattr(self, name) for name in _TYPES}
        check_types(settings, _TYPES)
        sources = [name for name, value in settings.items() if value is not None]
        if len(sources) > 1:
            raise ConfigurationError(f"{' and '.join(sources)} contradict each other: the keys come from one place.")
        if self.profile not in {None, *get_args(TokenProfile)}:
            raise ConfigurationError("profile must be authmint or rfc9068.")

    def given_keys(self) -> KeySet | None:
        """Return the keys that were given, or None when they are to be fetched."""
        if self.shared_secret is not None:
            secret = self.shared_secret.encode() if isinstance(self.shared_secret, str) else self.shared_secret
            try:
                return SharedSecretKeySet(SharedSecretKey(secret))
            except ValueError as error:
                raise ConfigurationError(f"shared_secret is too weak. {error}") from error
        if self.jwks is not None:
            return StaticKeySet(self.jwks)
        if self.jwks_file is not None:
            return StaticKeySet(_read_jwks(Path(self.jwks_file)))
        return self.key_set

    def keys(
        self, *, clock: Callable[[], float] | None, observer: Observer, on_metadata: Callable[[IssuerMetadata], None]
    ) -> KeySet:
        """Return its keys. `on_metadata` is called with the issuer's metadata once that is fetched."""
        source = _PublishedKeys(self.url, on_metadata)
        return self.given_keys() or RemoteKeySet(source.fetch, clock=clock, observer=observer)


def check_issuers(issuers: object) -> None:
    """Raise ConfigurationError for issuers that cannot be trusted side by side."""
    if not isinstance(issuers, Collection) or not all(isinstance(issuer, Issuer) for issuer in issuers):
        raise ConfigurationError("issuers must be a list of Issuer objects: issuers=[Issuer(url=…), …].")
    if not issuers:
        raise ConfigurationError("issuer is missing: a resource server trusts one issuer at least.")
    if len({issuer.url for issuer in issuers}) < len(issuers):
        raise ConfigurationError("issuers names one issuer twice.")
    if len(issuers) > 1 and any(issuer.shared_secret is not None for issuer in issuers):
        raise ConfigurationError(
            "shared_secret and issuers contradict each other: a shared secret stands alone (RFC 8725, 3.1)."
        )


class _PublishedKeys:
    """Fetches the key set that an issuer publishes."""

    def __init__(self, issuer: str, on_metadata: Callable[[IssuerMetadata], None]) -> None:
        self._issuer, self._on_metadata = issuer, on_metadata
        self._metadata: IssuerMetadata | None = None

    async def fetch(self) -> JSONDocument:
        if self._metadata is None:
            self._metadata = await discover(self._issuer)
            self._on_metadata(self._metadata)
        uri = self._metadata.jwks_uri
        # The keys may have moved: after a failure the next attempt fetches the metadata again.
        metadata, self._metadata = self._metadata, None
        if uri is None:
            raise FetchError("the metadata has no jwks_uri")
        document = await fetch_document(uri)
        self._metadata = metadata
        return document


def _read_jwks(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"jwks_file {file} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"jwks_file {file} has no JWK set.")
    return content


def read_secret_file(file: str, name: str) -> str:
    """Return the content of a file without its line ends. Raise ConfigurationError, which does not repeat the path."""
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
