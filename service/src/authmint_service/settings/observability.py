"""Logs and traces."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from authmint_service.settings.group import SettingsGroup, split_url


class ObservabilitySettings(SettingsGroup):
    """What is logged and in which form, and where traces are sent."""

    title: ClassVar[str] = "Logs and traces"

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="Lowest level that is logged. Secrets are logged at no level."),
    ] = "INFO"
    log_format: Annotated[
        Literal["json", "console"], Field(description="Form of the log: `json` for programs, `console` for people.")
    ] = "json"
    otlp_endpoint: Annotated[
        str | None,
        Field(
            description="OpenTelemetry collector that traces are sent to by OTLP over HTTP. It needs the extra "
            "`authmint-service[opentelemetry]`; OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS "
            "and the like are read too.",
            examples=["http://collector:4318"],
        ),
    ] = None

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_otlp_endpoint(cls, endpoint: str | None) -> str | None:
        parts = split_url(endpoint or "http://localhost")
        # No password: settings that are not secret are shown to operators.
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("must look like http://collector:4318")
        return endpoint
