"""What the service is: its environment, its issuer, its data folder."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from authmint.loopback import is_loopback
from authmint_service.settings.group import Required, SettingsGroup, split_url


class Environment(StrEnum):
    """Where the service runs. Development creates the secrets that are missing; production refuses to start without them."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class DataFolderSettings(SettingsGroup):
    """The environment and the data folder. They are apart from the rest because a migration needs them, and no issuer."""

    environment: Annotated[
        Environment,
        Field(
            description="Where the service runs. `development` makes missing secrets, and migrates the database by itself; "
            "`production` does not start without them."
        ),
    ] = Environment.PRODUCTION
    data_dir: Annotated[
        Path, Field(description="Folder of the embedded PostgreSQL, and of the secrets of a development start.")
    ] = Path(".authmint")

    @property
    def is_development(self) -> bool:
        return self.environment is Environment.DEVELOPMENT


class ServiceSettings(DataFolderSettings):
    """The issuer, and what it is beside."""

    title: ClassVar[str] = "Service"

    issuer: Annotated[
        str,
        Required("Set it to the https URL of this service, the `iss` of its tokens."),
        Field(
            description="The https URL of this service, the `iss` of its tokens to the character. In development it may be "
            "left out, and is then `http://127.0.0.1:` and the port.",
            examples=["https://auth.example.com"],
        ),
    ] = ""
    outbound_allowed_hosts: Annotated[
        tuple[str, ...],
        Field(
            description="Hosts with their ports, separated by commas, that this service may send requests to although their "
            "addresses are private. They are compared to the character with the host in a URL; a network cannot be named. "
            "Hosts with public addresses need not be listed.",
            examples=["breaches.internal:443"],
        ),
    ] = ()

    @field_validator("outbound_allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("outbound_allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for each in hosts:
            host, _, port = each.rpartition(":")
            if not re.fullmatch(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]", host) or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError("each must be a host in lower case and its port, like breaches.internal:443")
        return hosts

    @model_validator(mode="after")
    def _check_issuer(self) -> Self:
        if not self.issuer:
            return self
        try:
            parts = split_url(self.issuer)
        except ValueError as error:
            raise ValueError(f"AUTHMINT_ISSUER {error}.") from None
        if not parts.hostname or parts.query or parts.fragment or parts.username or not self.issuer.isprintable():
            raise ValueError("AUTHMINT_ISSUER must be a URL without query, fragment and user, like https://auth.example.com.")
        if parts.scheme != "https" and not (parts.scheme == "http" and (is_loopback(parts.hostname) or self.is_development)):
            raise ValueError("AUTHMINT_ISSUER must be an https URL (http is for loopback addresses and development only).")
        return self
