"""What browsers may do: cross-origin requests, and the documentation pages."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from authmint_service.settings.group import SettingsGroup
from authmint_service.web_origins import is_origin


class BrowserSettings(SettingsGroup):
    """Allowed origins and `/docs`."""

    title: ClassVar[str] = "Browsers"

    cors_origins: Annotated[
        tuple[str, ...],
        Field(
            description="Web pages that may call this service from a browser, separated by commas. `*` is refused. The pages "
            "of clients that keep their refresh token in a cookie need not be listed: their origins are stored with the "
            "client.",
            examples=["https://app.example.com"],
        ),
    ] = ()
    docs: Annotated[
        bool | None,
        Field(
            description="Whether `/docs` and `/openapi.json` are served. Left out: in development alone.",
            examples=["true"],
        ),
    ] = None
    docs_client_id: Annotated[str, Field(description="Client that the button *Authorize* in `/docs` proposes.")] = ""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not is_origin(origin):
                raise ValueError("each must be an origin like https://app.example.com, without path, and * is refused")
        return origins
