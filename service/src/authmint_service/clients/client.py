"""A client (RFC 6749, section 2) and its secrets."""

import hashlib
import hmac
import re
import secrets
import uuid
from dataclasses import dataclass, field

from authmint.scopes import is_scope_token
from authmint_service.errors import InvalidValue
from authmint_service.web_origins import is_origin

SECRET_PREFIX = "amcs_"  # noqa: S105 - tells secret scanners what they found
MOST_SECRETS = 2
MOST_ENTRIES = 64
LONGEST_GRACE, MINUTE, YEAR = 120, 60, 366 * 86_400

_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
_NEVER = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application. Raises Invalid, with a sentence, when it contradicts itself."""

    client_id: str
    name: str
    confidential: bool
    """Whether it can keep a secret. An SPA cannot."""
    grants: frozenset[str]
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    """The resource servers it may have tokens for."""
    default_audiences: tuple[str, ...]
    """Those that a token is for when the client names none."""
    secret_hashes: tuple[bytes, ...] = ()
    """SHA-256. Two may be live, so that a secret can be changed without a gap."""
    enabled: bool = True
    refresh_grace_seconds: int | None = None
    """Seconds for which the refresh token before the current one still brings the current one. None: as the service is set."""
    session_idle_ttl: int | None = None
    """Seconds without a refresh after which a session ends. None: as the service is set."""
    session_ttl: int | None = None
    """Seconds after which a session ends whatever happens. None: as the service is set."""
    refresh_cookie: bool = False
    """Its refresh tokens travel in a cookie that no script can read, and never in a body."""
    origins: tuple[str, ...] = ()
    """The origins that its pages come from; the cookie is taken from no other."""
    subject: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The `sub` of the tokens it gets for itself. A UUID, so that no client can take a person's name."""

    def __post_init__(self) -> None:
        for is_right, message in (
            (
                _CLIENT_ID.fullmatch(self.client_id),
                "A client id has 1 to 100 letters, digits, dots, hyphens, underscores, tildes.",
            ),
            (0 < len(self.name) <= 100 and self.name.isprintable(), "A client's name has 1 to 100 printable characters."),
            (all(map(is_scope_token, self.scopes)), "A scope is printable ASCII without space, quote and backslash."),
            (len(self.scopes) <= MOST_ENTRIES, f"A client has at most {MOST_ENTRIES} scopes."),
            (0 < len(self.audiences) <= MOST_ENTRIES, f"A client has 1 to {MOST_ENTRIES} audiences."),
            (all(map(_is_audience, self.audiences)), "An audience has 1 to 200 printable characters without spaces."),
            (self.default_audiences, "A client has at least one default audience."),
            (set(self.default_audiences) <= set(self.audiences), "A default audience must be one of the audiences."),
            (len(self.secret_hashes) <= MOST_SECRETS * self.confidential, "A confidential client has two secrets at most."),
            (_fits(self.refresh_grace_seconds, 0, LONGEST_GRACE), f"A grace period is 0 to {LONGEST_GRACE} seconds."),
            (_fits(self.session_idle_ttl, MINUTE, YEAR), f"A session may be idle for {MINUTE} to {YEAR} seconds."),
            (_fits(self.session_ttl, MINUTE, YEAR), f"A session lasts {MINUTE} to {YEAR} seconds."),
            (
                (self.session_idle_ttl or 0) <= (self.session_ttl or YEAR),
                "A session cannot be idle for longer than it lasts.",
            ),
            (len(self.origins) <= MOST_ENTRIES, f"A client has at most {MOST_ENTRIES} origins."),
            (all(map(is_origin, self.origins)), "An origin looks like https://app.example.com: no path, and no *."),
            (
                not self.refresh_cookie or (not self.confidential and "refresh_token" in self.grants and self.origins),
                "Refresh tokens in a cookie are for a public client with the grant refresh_token and the origins of its pages.",
            ),
        ):
            if not is_right:
                raise InvalidValue(message)

    def accepts(self, secret: str) -> bool:
        """Whether `secret` is one of its own, compared in constant time."""
        presented = secret_hash(secret)
        # No early end, and one comparison even without a secret: the time tells nothing about which.
        return sum(hmac.compare_digest(presented, known) for known in self.secret_hashes or (_NEVER,)) > 0


def new_client_secret() -> str:
    """256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> bytes:
    """SHA-256: a slow hash would protect nothing that has 256 random bits, and would cap the throughput."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _is_audience(audience: str) -> bool:
    return 0 < len(audience) <= 200 and audience.isprintable() and " " not in audience


def _fits(value: int | None, least: int, most: int) -> bool:
    return value is None or least <= value <= most
