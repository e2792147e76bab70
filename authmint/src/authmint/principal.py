"""The caller of a request: what a route receives of a verified access token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from authmint.claims import AccessTokenClaims


class ReadOnlyClaims(dict[str, Any]):
    """A dict that refuses changes, as requests share it. For `pickle`, `copy`, `json` and pydantic it is like any other."""

    def __reduce__(self) -> tuple[type["ReadOnlyClaims"], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("The claims of a principal are read-only. Change a copy: dict(principal.claims).")


for _method in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(ReadOnlyClaims, _method, _refuse)


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
    """All claims, as the token has them, in a read-only dict. Requests share the lists and dicts in it: change a copy."""
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
            issued_at=int(token.issued_at),
            expires_at=int(token.expires_at),
            is_user=token.subject_profile == "user",
            is_service=token.subject_profile == "service",
            claims=ReadOnlyClaims(claims),
            epoch=token.epoch,
        )

    def __hash__(self) -> int:
        return hash((self.issuer, self.sub))
