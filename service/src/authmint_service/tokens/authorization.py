"""What a grant has authorized, and the response of the token endpoint."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from authmint.claims import SubjectProfile
from authmint.scopes import format_scope
from authmint.values import value_type
from authmint_service.change_feed import EpochReading
from authmint_service.tokens.authentication import Authentication

BEARER = "Bearer"
"""RFC 6750."""


@value_type(kw_only=True)
class Authorization:
    """Subject, client, scopes and audiences: what the access token will contain, and what the response says beside it."""

    subject: str
    subject_profile: SubjectProfile
    client_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    reading: EpochReading
    """What the token's `epoch` and `iat` come from: no younger than anything else that this was made of."""
    session_id: str | None = None
    refresh_token: str | None = None
    authentication: Authentication | None = None
    """How and when the subject was authenticated: `auth_time` and `amr` (RFC 9068, section 2.2.1)."""
    confirmation: Mapping[str, Any] | None = None
    """The key that the caller must prove to have: `cnf` (RFC 7800)."""
    actor: Mapping[str, Any] | None = None
    """Who acts for the subject: `act` (RFC 8693, section 4.1)."""
    token_type: str = BEARER
    issued_token_type: str | None = None
    """RFC 8693, section 2.2.1."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More members of the response."""


@value_type(kw_only=True)
class TokenResponse:
    """The response of the token endpoint (RFC 6749, section 5.1). `token_id` is for the log."""

    access_token: str
    expires_in: int
    scopes: frozenset[str]
    refresh_token: str | None
    token_id: str
    token_type: str = BEARER
    issued_token_type: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the members of the response. `scope` is always there, so a client need not store what it requested."""
        members: dict[str, Any] = {
            **self.extra,
            "access_token": self.access_token,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "scope": format_scope(self.scopes),
        }
        if self.issued_token_type is not None:
            members["issued_token_type"] = self.issued_token_type
        if self.refresh_token is not None:
            members["refresh_token"] = self.refresh_token
        return members
