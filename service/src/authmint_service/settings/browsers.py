"""What browsers may do: cross-origin requests, and the documentation pages."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from authmint_service.settings.group import SettingsGroup
from authmint_service.web_origins import is_origin


class BrowserSettings(SettingsGroup):
    """Allowed origins and `/docs`."""

    cors_origins: Annotated[
        tuple[str, ...], NoDecode, Field(description="Origins whose pages may call the service, separated by commas.")
    ] = ()
    docs: Annotated[bool, Field(description="Whether /docs and /openapi.json are served.")] = True
    docs_client_id: Annotated[str, Field(description="Client that /docs proposes.")] = ""

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
