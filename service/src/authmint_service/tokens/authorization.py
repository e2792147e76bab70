"""What a grant has authorized, and the response of the token endpoint."""

from dataclasses import dataclass
from typing import Any

from authmint.claims import SubjectProfile
from authmint.scopes import format_scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Subject, client, scopes and audiences: what the access token will contain."""

    subject: str
    subject_profile: SubjectProfile
    client_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    session_id: str | None = None
    refresh_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResponse:
    """The response of the token endpoint (RFC 6749, section 5.1). `token_id` is for the log."""

    access_token: str
    expires_in: int
    scopes: frozenset[str]
    refresh_token: str | None
    token_id: str

    def to_json(self) -> dict[str, Any]:
        """Return the members of the response. `scope` is always there, so a client need not store what it requested."""
        members: dict[str, Any] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": format_scope(self.scopes),
        }
        if self.refresh_token is not None:
            members["refresh_token"] = self.refresh_token
        return members
