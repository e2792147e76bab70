"""How long sessions live, and how long a retried refresh is served. A client may have values of its own."""

from typing import Annotated, ClassVar

from pydantic import Field

from authmint_service.settings.group import DAY, MINUTE, SettingsGroup


class SessionSettings(SettingsGroup):
    """Lifetimes in seconds."""

    title: ClassVar[str] = "Sessions"

    session_ttl: Annotated[
        int,
        Field(
            ge=MINUTE,
            le=366 * DAY,
            description="Seconds after the sign-in at which a session expires, however often it was refreshed (ninety days).",
        ),
    ] = 90 * DAY
    session_idle_ttl: Annotated[
        int,
        Field(ge=MINUTE, le=366 * DAY, description="Seconds without a refresh after which a session expires (two weeks)."),
    ] = 14 * DAY
    refresh_grace_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=120,
            description="Seconds in which the previous refresh token returns the current one wherever it comes from, for a "
            "client that lost the response. Later it does so only in the network and for the user agent that redeemed it.",
        ),
    ] = 30
    sessions_per_client: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Live sessions that a person may have with one client. A sign-in beyond it revokes the oldest one.",
        ),
    ] = 50
