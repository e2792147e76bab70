"""A client (RFC 6749, section 2) and its secrets."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from authmint.scopes import is_scope_token
from authmint_service.errors import InvalidValue
from authmint_service.request_source import Actor
from authmint_service.web_origins import is_origin

SECRET_PREFIX = "amcs_"  # noqa: S105 - for secret scanners
MAX_SECRETS = 2
MAX_ENTRIES = 64
"""Of each list."""
MAX_GRACE_SECONDS = 120
MIN_SESSION_SECONDS, MAX_SESSION_SECONDS = 60, 366 * 86_400

_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
_NO_SECRET = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application. Raise InvalidValue if it contradicts itself."""

    client_id: str
    name: str
    confidential: bool
    """Whether it can keep a secret. An SPA cannot."""
    grants: frozenset[str]
    scopes: frozenset[str]
    resources: tuple[str, ...]
    """The resource servers for which it may have tokens: the values of `aud`."""
    default_resources: tuple[str, ...]
    """The audiences of a token if the client asks for none."""
    secret_hashes: tuple[bytes, ...] = ()
    """SHA-256 of the live secrets. There may be two, so that a secret can be changed without a gap."""
    enabled: bool = True
    refresh_grace_seconds: int | None = None
    """Seconds for which the parent of the current refresh token is still accepted. None: the service's setting."""
    session_idle_ttl: int | None = None
    """Seconds without a refresh after which a session expires. None: the service's setting."""
    session_ttl: int | None = None
    """Seconds after the sign-in at which a session expires. None: the service's setting."""
    refresh_cookie: bool = False
    """Whether its refresh tokens travel in a cookie that no script can read, and never in a body."""
    origins: tuple[str, ...] = ()
    """The web origins of its pages; the cookie is accepted from no other."""
    subject: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The `sub` of the tokens that it gets for itself. A UUID, so that no client can take the `sub` of an account."""

    @property
    def actor(self) -> Actor:
        """Return the client as the one who acts, for what it does in its own name."""
        return Actor(kind="client", id=self.subject, client_id=self.client_id)

    def __post_init__(self) -> None:
        for rules in (self._identity_rules(), self._access_rules(), self._session_rules()):
            for holds, name, message in rules:
                if not holds:
                    raise InvalidValue(message, code=f"{name}_invalid", field=name)

    def _identity_rules(self) -> Iterator[tuple[object, str, str]]:
        yield (
            _CLIENT_ID.fullmatch(self.client_id),
            "client_id",
            "A client id has 1 to 100 letters, digits, dots, hyphens, underscores, tildes.",
        )
        yield (
            0 < len(self.name) <= 100 and self.name.isprintable(),
            "name",
            "A client's name has 1 to 100 printable characters.",
        )
        yield (
            len(self.secret_hashes) <= MAX_SECRETS * self.confidential,
            "secrets",
            f"A confidential client has at most {MAX_SECRETS} secrets, and a public client has none.",
        )

    def _access_rules(self) -> Iterator[tuple[object, str, str]]:
        yield (
            all(map(is_scope_token, self.scopes)),
            "scopes",
            "A scope is printable ASCII without space, quote and backslash.",
        )
        yield len(self.scopes) <= MAX_ENTRIES, "scopes", f"A client has at most {MAX_ENTRIES} scopes."
        yield 0 < len(self.resources) <= MAX_ENTRIES, "resources", f"A client has 1 to {MAX_ENTRIES} resources."
        yield (
            all(map(_is_resource, self.resources)),
            "resources",
            "A resource has 1 to 200 printable characters without spaces.",
        )
        yield self.default_resources, "default_resources", "A client has at least one default resource."
        yield (
            set(self.default_resources) <= set(self.resources),
            "default_resources",
            "A default resource must be one of the resources.",
        )

    def _session_rules(self) -> Iterator[tuple[object, str, str]]:
        yield (
            _is_within(self.refresh_grace_seconds, 0, MAX_GRACE_SECONDS),
            "refresh_grace_seconds",
            f"A grace period is 0 to {MAX_GRACE_SECONDS} seconds.",
        )
        limits = f"{MIN_SESSION_SECONDS} to {MAX_SESSION_SECONDS} seconds."
        yield (
            _is_within(self.session_idle_ttl, MIN_SESSION_SECONDS, MAX_SESSION_SECONDS),
            "session_idle_ttl",
            f"A session may be idle for {limits}",
        )
        yield (
            _is_within(self.session_ttl, MIN_SESSION_SECONDS, MAX_SESSION_SECONDS),
            "session_ttl",
            f"A session lasts {limits}",
        )
        yield (
            (self.session_idle_ttl or 0) <= (self.session_ttl or MAX_SESSION_SECONDS),
            "session_idle_ttl",
            "A session cannot be idle for longer than it lasts.",
        )
        yield len(self.origins) <= MAX_ENTRIES, "origins", f"A client has at most {MAX_ENTRIES} origins."
        yield (
            all(map(is_origin, self.origins)),
            "origins",
            "An origin looks like https://app.example.com: no path, and no *.",
        )
        yield (
            not self.refresh_cookie or (not self.confidential and "refresh_token" in self.grants and self.origins),
            "refresh_cookie",
            "Refresh tokens in a cookie are for a public client with the grant refresh_token and the origins of its pages.",
        )

    def accepts(self, secret: str) -> bool:
        """Return whether `secret` is one of the client's, compared in constant time."""
        presented = secret_hash(secret)
        # All are compared, and one comparison is made even without a secret: the time depends on neither.
        return sum(hmac.compare_digest(presented, known) for known in self.secret_hashes or (_NO_SECRET,)) > 0


def new_client_secret() -> str:
    """Return a new secret of 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> bytes:
    """Return the SHA-256 of a secret. A slow hash would not protect 256 random bits any better, and would limit throughput."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _is_resource(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable() and " " not in text


def _is_within(value: int | None, minimum: int, maximum: int) -> bool:
    return value is None or minimum <= value <= maximum
