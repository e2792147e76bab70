"""A session, and how long one lasts."""

from dataclasses import dataclass
from enum import StrEnum


class EndCause(StrEnum):
    """Why a session was revoked, as its row says."""

    SIGNED_OUT = "signed_out"
    SIGNED_OUT_ELSEWHERE = "signed_out_elsewhere"
    """Its owner revoked it from another session."""
    OPERATOR = "operator"
    REUSED = "reused"
    """An old refresh token was presented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a refresh needs to know of a session."""

    id: str
    """The `sid` claim. Not the handle: whoever sees an access token learns nothing about the refresh token."""
    account_id: str
    client_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session lasts, in seconds, unless its client has limits of its own."""

    grace: int
    """How long the token before the current one still brings the current one, for whoever lost the answer."""
    idle: int
    """Without a refresh for this long, the session ends."""
    absolute: int
    """The session ends this long after the sign-in, whatever happens."""
