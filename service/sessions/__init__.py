"""One sign-in of one person on one device: one row, whose refresh token is a sealed counter."""

from service.sessions.pruning import keep_pruning, prune
from service.sessions.refresh_token import RefreshToken, RefreshTokenSealer, looks_like_refresh_token
from service.sessions.session import Limits, Session
from service.sessions.sessions import Sessions
from service.sessions.store import SessionStore, SessionSummary, StoredSession

__all__ = [
    "Limits",
    "RefreshToken",
    "RefreshTokenSealer",
    "Session",
    "SessionStore",
    "SessionSummary",
    "Sessions",
    "StoredSession",
    "keep_pruning",
    "looks_like_refresh_token",
    "prune",
]
