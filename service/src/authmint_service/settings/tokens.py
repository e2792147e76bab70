"""How long access tokens live."""

from typing import Annotated, ClassVar

from pydantic import Field

from authmint_service.settings.group import HOUR, MINUTE, SettingsGroup


class TokenSettings(SettingsGroup):
    """Access tokens."""

    title: ClassVar[str] = "Tokens"

    access_token_ttl: Annotated[
        int,
        Field(
            ge=5,
            le=HOUR,
            description="Maximum lifetime of an access token in seconds. Each lives up to 4 % less, so that clients do not "
            "all refresh at the same time.",
        ),
    ] = 5 * MINUTE
