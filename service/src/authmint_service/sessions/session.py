"""A session and its lifetimes."""

from dataclasses import dataclass
from enum import StrEnum

from authmint.values import value_type
from authmint_service.change_feed import EpochReading
from authmint_service.request_source import Actor, RequestSource


class EndCause(StrEnum):
    """Why a session was revoked, as its row says."""

    SIGNED_OUT = "signed_out"
    SIGNED_OUT_ELSEWHERE = "signed_out_elsewhere"
    """Its owner revoked it from another session."""
    EVICTED = "evicted"
    """The account had too many sessions with the client, and this was the oldest."""
    OPERATOR = "operator"
    KEY_DROPPED = "key_dropped"
    """The key of its refresh token was dropped."""
    REUSED = "reused"
    """An old refresh token was presented."""
    REPEATED_ELSEWHERE = "repeated_elsewhere"
    """The parent of the current refresh token was presented from elsewhere, in the third generation."""


@value_type(kw_only=True)
class Session:
    """The part of a session that a refresh needs."""

    id: str
    """The `sid` claim. It is not the handle, so an access token reveals nothing about the refresh token."""
    account_id: str
    client_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    started_at: float
    """The time of the sign-in, seconds since the epoch."""


@value_type()
class LiveSession:
    """What others may know of a live session."""

    username: str | None
    """None: its account has none."""


@value_type()
class SessionReading:
    """A session, and the epoch as the same statement saw it."""

    session: Session
    reading: EpochReading


@value_type(kw_only=True)
class RefreshRequest:
    """What a client asks for when it redeems a refresh token."""

    client_id: str
    scopes: frozenset[str]
    """The requested scopes. The session must have all of them."""
    audiences: tuple[str, ...]
    """The requested audiences. The session must have all of them, but for the issuer."""
    issuer_audience: tuple[str, ...] = ()
    """The issuer's URL if the client may request it though neither the client nor the session lists it; else empty."""
    actor: Actor
    """Who asks, for the event of a repeat or a reuse. A refresh records none."""
    source: RequestSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLifetimes:
    """How long sessions live, in seconds. A client can have values of its own."""

    grace: int
    """How long the parent of the current token may be presented again, by a client that lost the response."""
    idle: int
    """The session expires after this time without a refresh."""
    absolute: int
    """The session expires this long after the sign-in, even if it is refreshed."""
    access_token: int
    """An access token lives this long at most. A revoked session is on the revocation list until the last one has expired."""
