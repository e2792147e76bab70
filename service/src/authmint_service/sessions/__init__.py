"""One sign-in of one person on one device: one row, whose refresh token is a sealed counter."""

from authmint_service.sessions.pruning import prune, prune_forever
from authmint_service.sessions.refresh_token import RefreshToken, RefreshTokenCodec, has_refresh_token_prefix
from authmint_service.sessions.session import EndCause, Limits, Session
from authmint_service.sessions.sessions import Sessions
from authmint_service.sessions.store import SessionStore, SessionSummary, StoredSession

__all__ = [
    "EndCause",
    "Limits",
    "RefreshToken",
    "RefreshTokenCodec",
    "Session",
    "SessionStore",
    "SessionSummary",
    "Sessions",
    "StoredSession",
    "has_refresh_token_prefix",
    "prune",
    "prune_forever",
]
