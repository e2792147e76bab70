"""A client (RFC 6749, section 2) and its secrets."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

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

Rule: TypeAlias = tuple[object, str, str, Mapping[str, object]]
"""Whether it holds, the field, what is wrong with it otherwise, and the values of the sentence."""


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

    def issuer_audience(self, issuer: str) -> tuple[str, ...]:
        """Return the issuer's URL if the client may have tokens for the issuer's own routes although it does not list it.

        People who sign in through a client manage their account there.
        """
        return (issuer,) if "password" in self.grants else ()

    @property
    def actor(self) -> Actor:
        """Return the client as the one who acts, for what it does in its own name."""
        return Actor(kind="client", id=self.subject, client_id=self.client_id)

    def __post_init__(self) -> None:
        for rules in (self._identity_rules(), self._access_rules(), self._session_rules()):
            _check(rules)

    def _identity_rules(self) -> Iterator[Rule]:
        yield _CLIENT_ID.fullmatch(self.client_id), "client_id", "invalid", {}
        yield 0 < len(self.name) <= 100 and self.name.isprintable(), "name", "invalid", {}
        has_few = len(self.secret_hashes) <= MAX_SECRETS * self.confidential
        yield has_few, "secrets", "too_many", {"maximum": MAX_SECRETS}

    def _access_rules(self) -> Iterator[Rule]:
        yield from _scope_rules(self.scopes)
        yield 0 < len(self.resources) <= MAX_ENTRIES, "resources", "out_of_range", {"maximum": MAX_ENTRIES}
        yield all(map(_is_resource, self.resources)), "resources", "invalid", {}
        yield self.default_resources, "default_resources", "missing", {}
        yield set(self.default_resources) <= set(self.resources), "default_resources", "unknown", {}

    def _session_rules(self) -> Iterator[Rule]:
        limits = {"minimum": MIN_SESSION_SECONDS, "maximum": MAX_SESSION_SECONDS}
        grace, idle, ttl = self.refresh_grace_seconds, self.session_idle_ttl, self.session_ttl
        has_grace = _is_within(grace, 0, MAX_GRACE_SECONDS)
        yield has_grace, "refresh_grace_seconds", "out_of_range", {"maximum": MAX_GRACE_SECONDS}
        yield _is_within(idle, MIN_SESSION_SECONDS, MAX_SESSION_SECONDS), "session_idle_ttl", "out_of_range", limits
        yield _is_within(ttl, MIN_SESSION_SECONDS, MAX_SESSION_SECONDS), "session_ttl", "out_of_range", limits
        yield (idle or 0) <= (ttl or MAX_SESSION_SECONDS), "session_idle_ttl", "too_long", {}
        yield len(self.origins) <= MAX_ENTRIES, "origins", "too_many", {"maximum": MAX_ENTRIES}
        yield all(map(is_origin, self.origins)), "origins", "invalid", {}
        may_have_cookie = not self.confidential and "refresh_token" in self.grants and self.origins
        yield not self.refresh_cookie or may_have_cookie, "refresh_cookie", "not_allowed", {}

    def find_secret(self, readings: Collection[str]) -> bytes | None:
        """Return the SHA-256 of the secret that one of the readings is, compared in constant time; None if none is one."""
        # All are compared, and one comparison is made even without a secret: the time depends on neither.
        known = self.secret_hashes or (_NO_SECRET,)
        presented = [secret_hash(reading) for reading in readings]
        found = [other for one in presented for other in known if hmac.compare_digest(one, other)]
        return found[0] if found else None


def new_client_secret() -> str:
    """Return a new secret of 256 random bits. No character of it is encoded in a form, so that every client sends it right."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> bytes:
    """Return the SHA-256 of a secret. A slow hash would not protect 256 random bits any better, and would limit throughput."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _check(rules: Iterator[Rule]) -> None:
    for holds, name, rule, limits in rules:
        if not holds:
            raise InvalidValue(f"{name}_{rule}", field=name, **limits)


def _scope_rules(scopes: Collection[str]) -> Iterator[Rule]:
    yield all(map(is_scope_token, scopes)), "scopes", "invalid", {}
    yield len(scopes) <= MAX_ENTRIES, "scopes", "too_many", {"maximum": MAX_ENTRIES}


def _is_resource(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable() and " " not in text


def _is_within(value: int | None, minimum: int, maximum: int) -> bool:
    return value is None or minimum <= value <= maximum
