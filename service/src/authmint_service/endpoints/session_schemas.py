"""Sessions in responses, for their own account and for administrators."""

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel

from authmint_service.endpoints.paging import Position
from authmint_service.sessions import SessionSummary


class Session(BaseModel):
    """One sign-in on one device."""

    id: str
    client_id: str
    client_name: str
    started_at: datetime
    last_used_at: datetime
    """Rounded down to the hour."""
    expires_at: datetime
    """Unless it is used before. Rounded up to the hour."""
    ip_address: str | None
    """The address of the sign-in, as this service saw it."""
    repeats_elsewhere: int
    """How often a refresh token that had been used was presented again from elsewhere: 0, unless someone may have a copy of it.

    The third time, the session is revoked.
    """

    @classmethod
    def from_summary(cls, session: SessionSummary, **more: Any) -> Self:
        """Return the session for a response. `more`: members of a subclass."""
        return cls(
            id=session.id,
            client_id=session.client_id,
            client_name=session.client_name,
            started_at=datetime.fromtimestamp(session.started_at, UTC),
            last_used_at=datetime.fromtimestamp(session.last_used_at, UTC),
            expires_at=datetime.fromtimestamp(session.expires_at, UTC),
            ip_address=session.ip_address,
            repeats_elsewhere=session.repeats_elsewhere,
            **more,
        )


class MySession(Session):
    """One of the caller's own sessions."""

    current: bool
    """Whether this request's access token belongs to it."""


class SessionPage(BaseModel):
    """Sessions of an account, those that began last first."""

    items: list[Session]
    next_cursor: str | None
    """For the next page; null on the last one."""


class MySessionPage(BaseModel):
    """The caller's own sessions, those that began last first."""

    items: list[MySession]
    next_cursor: str | None
    """For the next page; null on the last one."""


def position_of(session: SessionSummary) -> Position:
    """Return the place of a session in a list."""
    return Position.of(session.started_at, session.id)


class ThisSession(BaseModel):
    """What became of the caller's own session when all others were revoked."""

    this_session: Literal["kept", "revoked"]
    """`revoked` without a proof: the refresh token of this session."""
    refresh_token: str | None = None
    """Replaces the one that was presented. Only for a client that does not keep it in a cookie."""
