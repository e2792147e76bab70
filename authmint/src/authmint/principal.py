"""Who is calling: what a route gets to see of a verified access token."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from authmint.claims import AccessTokenClaims


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller behind one request. Identity is `issuer` and `sub` together, never a name (RFC 9068, section 5)."""

    sub: str
    client_id: str
    scopes: frozenset[str]
    audience: tuple[str, ...]
    issuer: str
    session_id: str | None
    """One sign-in of one person on one device; None for a machine."""
    issued_at: int
    """Seconds since the epoch, as `expires_at` is."""
    expires_at: int
    is_user: bool
    """A person signed in. Neither this nor `is_service` holds when the token does not say."""
    is_service: bool
    """A service acts for itself (client credentials)."""
    claims: Mapping[str, Any]
    """All claims, read-only, as the token has them."""

    @classmethod
    def of(cls, token: AccessTokenClaims, claims: Mapping[str, Any]) -> "Principal":
        """The principal of verified claims."""
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
        )

    def __hash__(self) -> int:
        return hash((self.issuer, self.sub))
