"""How long access tokens live."""

from typing import Annotated

from pydantic import Field

from authmint_service.settings.group import HOUR, MINUTE, SettingsGroup


class TokenSettings(SettingsGroup):
    """Access tokens."""

    access_token_ttl: Annotated[int, Field(ge=5, le=HOUR, description="Maximum lifetime of an access token in seconds.")] = (
        5 * MINUTE
    )
