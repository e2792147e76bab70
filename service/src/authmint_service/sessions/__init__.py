"""Sessions: one sign-in of one person on one device.

A session is one row of the database. Its refresh token is an authenticated counter: handle, generation and a MAC over both.
The grants start and refresh sessions, the endpoints list and revoke them, a background task deletes the old ones.
"""

from authmint_service.sessions.account_sessions import AccountSessions, AccountSessionStore, SessionProof
from authmint_service.sessions.exporters import EXPORTERS
from authmint_service.sessions.key_usage import SessionKeyUsage
from authmint_service.sessions.pruning import prune, pruning_task
from authmint_service.sessions.refresh_token import RefreshToken, RefreshTokenCodec, has_refresh_token_prefix
from authmint_service.sessions.rotation_place import RotationPlaces
from authmint_service.sessions.rotation_store import RotationStore, StoredSession
from authmint_service.sessions.session import EndCause, LiveSession, RefreshRequest, Session, SessionLifetimes
from authmint_service.sessions.session_limit import SessionLimit
from authmint_service.sessions.sessions import RefreshTokenReused, Sessions
from authmint_service.sessions.store import SessionStore, SessionSummary

__all__ = [
    "EXPORTERS",
    "AccountSessionStore",
    "AccountSessions",
    "EndCause",
    "LiveSession",
    "RefreshRequest",
    "RefreshToken",
    "RefreshTokenCodec",
    "RefreshTokenReused",
    "RotationPlaces",
    "RotationStore",
    "Session",
    "SessionKeyUsage",
    "SessionLifetimes",
    "SessionLimit",
    "SessionProof",
    "SessionStore",
    "SessionSummary",
    "Sessions",
    "StoredSession",
    "has_refresh_token_prefix",
    "prune",
    "pruning_task",
]
