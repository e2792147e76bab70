"""How long access tokens live, and how clients may get them."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

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
    grants: Annotated[
        tuple[str, ...],
        Field(
            description="Grants that are offered, as values of `grant_type`, separated by commas. Left out: all that there "
            "are. A client with a grant that is not offered still works with its other ones.",
            examples=["password,refresh_token"],
        ),
    ] = ()

    @field_validator("grants", mode="before")
    @classmethod
    def _split_grants(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
