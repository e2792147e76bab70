"""The caller of a request: what a route receives of a verified access token."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from authmint.claims import AccessTokenClaims


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request. Identity is `issuer` and `sub` together, never a name (RFC 9068, section 5)."""

    sub: str
    client_id: str
    scopes: frozenset[str]
    audience: tuple[str, ...]
    issuer: str
    session_id: str | None
    """One sign-in of one person on one device; None for a service."""
    issued_at: int
    """Seconds since the epoch, as `expires_at` is."""
    expires_at: int
    is_user: bool
    """A person is signed in. Both this and `is_service` are false when the token does not say."""
    is_service: bool
    """A service acts for itself (client credentials)."""
    claims: Mapping[str, Any]
    """All claims, read-only, as the token has them."""
    epoch: int | None = None
    """The authorization version that the token was made from; None if the token does not say."""

    @classmethod
    def from_claims(cls, token: AccessTokenClaims, claims: Mapping[str, Any]) -> "Principal":
        """Return the principal of verified claims. `claims`: all members of the token's payload."""
        return cls(
            sub=token.subject,
            client_id=token.client_id,
            scopes=token.scopes,
            audience=token.audience,
            issuer=token.issuer,
            session_id=token.session_id,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            is_user=token.subject_profile == "user",
            is_service=token.subject_profile == "service",
            claims=MappingProxyType(dict(claims)),
            epoch=token.epoch,
        )

    def __hash__(self) -> int:
        return hash((self.issuer, self.sub))
