"""Logs and traces."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from authmint_service.settings.group import SettingsGroup


class ObservabilitySettings(SettingsGroup):
    """What is logged and in which form, and where traces are sent."""

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="DEBUG, INFO, WARNING or ERROR.")] = (
        "INFO"
    )
    log_format: Annotated[Literal["json", "console"], Field(description="json for programs, console for people.")] = "json"
    otlp_endpoint: Annotated[str | None, Field(description="OpenTelemetry collector (OTLP over HTTP) for traces.")] = None

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_otlp_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and (urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname):
            raise ValueError("must look like http://collector:4318")
        return endpoint
