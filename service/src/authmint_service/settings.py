"""Every setting, read once at the roof from the environment and `.env`, and passed down as values from there.

The only room that reads the environment. Errors name the variable as a person writes it, and never repeat a value.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from authmint.fetching import is_loopback
from authmint.jose import ALGORITHMS
from authmint_service.cpus import usable_cores
from authmint_service.errors import SettingsError
from authmint_service.secret_keys import SecretKeys, check_shared_secret, development_secrets
from authmint_service.web_origins import is_origin

PREFIX = "AUTHMINT_"
MINUTE, HOUR, DAY = 60, 3600, 86_400
DRAIN_SECONDS = 6
"""Longer than uvicorn keeps a connection that is not used (5 s), so that none is left at the end."""


class Environment(StrEnum):
    """Where the service runs. Development makes the secrets it lacks; production refuses to start without them."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class DatabaseSettings(BaseSettings):
    """What is needed to reach the database, and no more: a migration wants no issuer and no secrets."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, hide_input_in_errors=True,
        env_ignore_empty=True,
    )  # fmt: skip

    database_url: SecretStr | None = None
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    database_statement_cache: Annotated[int, Field(ge=0, le=1000)] = 100
    data_dir: Path = Path(".authmint")

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and urlsplit(url.get_secret_value()).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        return url

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None


class Settings(DatabaseSettings):
    """Each field is the variable `AUTHMINT_<FIELD>`; `.env.example` explains them all. Durations are seconds."""

    environment: Environment = Environment.PRODUCTION
    issuer: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    drain_seconds: Annotated[int | None, Field(ge=0, le=300)] = None
    docs: bool = True
    docs_client_id: str = ""
    key_encryption_keys: SecretStr | None = None
    key_encryption_keys_file: Path | None = None
    refresh_token_keys: SecretStr | None = None
    refresh_token_keys_file: Path | None = None
    signing_algorithm: str = "ES256"
    signing_key_rotation_seconds: Annotated[int, Field(ge=HOUR, le=366 * DAY)] = 30 * DAY
    signing_rsa_bits: Annotated[int, Field(ge=2048, le=4096, multiple_of=256)] = 3072
    shared_secret: SecretStr | None = None
    shared_secret_file: Path | None = None
    access_token_ttl: Annotated[int, Field(ge=5, le=HOUR)] = 5 * MINUTE
    refresh_grace_seconds: Annotated[int, Field(ge=0, le=120)] = 30
    session_idle_ttl: Annotated[int, Field(ge=MINUTE, le=366 * DAY)] = 14 * DAY
    session_ttl: Annotated[int, Field(ge=MINUTE, le=366 * DAY)] = 90 * DAY
    password_hash_workers: Annotated[int | None, Field(ge=1, le=64)] = None
    password_hash_queue: Annotated[int, Field(ge=0, le=10_000)] = 64
    password_min_length: Annotated[int, Field(ge=8, le=64)] = 15
    otlp_endpoint: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

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

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_otlp_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and (urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname):
            raise ValueError("must look like http://collector:4318")
        return endpoint

    @field_validator("signing_algorithm")
    @classmethod
    def _check_algorithm(cls, algorithm: str) -> str:
        if algorithm not in {*ALGORITHMS, "HS256"}:
            raise ValueError(f"must be one of {', '.join(ALGORITHMS)}, or HS256")
        return algorithm

    @model_validator(mode="after")
    def _check_issuer(self) -> Self:
        if not self.issuer:
            if not self.is_development:
                raise ValueError(
                    "AUTHMINT_ISSUER is missing. Set it to the https URL of this service, as its tokens shall name it."
                )
            return self
        parts = urlsplit(self.issuer)
        if not parts.hostname or parts.query or parts.fragment or parts.username or not self.issuer.isprintable():
            raise ValueError("AUTHMINT_ISSUER must be a URL without query, fragment and user, like https://auth.example.com.")
        if parts.scheme != "https" and not (parts.scheme == "http" and (is_loopback(parts.hostname) or self.is_development)):
            raise ValueError("AUTHMINT_ISSUER must be an https URL (http is for loopback addresses and development only).")
        return self

    @model_validator(mode="after")
    def _check_lifetimes(self) -> Self:
        if not self.access_token_ttl < self.session_idle_ttl <= self.session_ttl:
            raise ValueError(
                "AUTHMINT_ACCESS_TOKEN_TTL must be shorter than AUTHMINT_SESSION_IDLE_TTL, and that no longer than "
                "AUTHMINT_SESSION_TTL."
            )
        return self

    @model_validator(mode="after")
    def _check_shared_secret(self) -> Self:
        given = self.shared_secret is not None or self.shared_secret_file is not None
        if given and self.signing_algorithm != "HS256":
            raise ValueError(
                "AUTHMINT_SHARED_SECRET and AUTHMINT_SIGNING_ALGORITHM contradict each other: the secret is for HS256 alone, "
                "and HS256 never stands beside another algorithm."
            )
        if not given and self.signing_algorithm == "HS256":
            raise ValueError(
                "AUTHMINT_SIGNING_ALGORITHM is HS256, and AUTHMINT_SHARED_SECRET is missing. "
                "Make one with: openssl rand -base64 32"
            )
        return self

    @property
    def is_development(self) -> bool:
        return self.environment is Environment.DEVELOPMENT

    @property
    def issuer_url(self) -> str:
        """The issuer, equal to the `iss` of every token to the character."""
        return self.issuer or f"http://127.0.0.1:{self.port}"

    @property
    def uses_insecure_cookies(self) -> bool:
        """Whether this is a development start on loopback http, where not every browser takes a cookie that is Secure."""
        parts = urlsplit(self.issuer_url)
        return self.is_development and parts.scheme == "http" and is_loopback(parts.hostname or "")

    @property
    def max_processes(self) -> int:
        """How many may run at a time: with several, one more than these, while they are replaced one after another."""
        return 1 if self.workers == 1 else self.workers + 1

    @property
    def password_hash_slots(self) -> int:
        """Password hashes that one process computes at a time: left out, its share of the cores, rounded up."""
        return self.password_hash_workers or -(-usable_cores() // self.workers)

    @property
    def shutdown_seconds(self) -> int:
        """How long a process serves on after a signal to stop."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return 0 if self.is_development else DRAIN_SECONDS

    @cached_property
    def encryption_keys(self) -> SecretKeys:
        """The keys that signing keys are encrypted with in the database."""
        return self._keys("key_encryption_keys", self.key_encryption_keys, self.key_encryption_keys_file)

    @cached_property
    def refresh_keys(self) -> SecretKeys:
        """The HMAC keys that refresh tokens are sealed with."""
        return self._keys("refresh_token_keys", self.refresh_token_keys, self.refresh_token_keys_file)

    @cached_property
    def hmac_secret(self) -> bytes | None:
        """What signs and verifies tokens where HS256 was chosen; None: the signing keys in the database."""
        if self.signing_algorithm != "HS256":
            return None
        return check_shared_secret(self._secret("shared_secret", self.shared_secret, self.shared_secret_file) or "")

    def _keys(self, field: str, value: SecretStr | None, file: Path | None) -> SecretKeys:
        name = f"{PREFIX}{field.upper()}"
        text = self._secret(field, value, file)
        if text is None and self.is_development:
            text = development_secrets(self.data_dir)[name]
        if text is None:
            raise SettingsError(f'{name} is missing. Set it to "1:" and the output of: openssl rand -base64 32')
        return SecretKeys.parse(text, name)

    def _secret(self, field: str, value: SecretStr | None, file: Path | None) -> str | None:
        name = f"{PREFIX}{field.upper()}"
        if file is None:
            return None if value is None else value.get_secret_value()
        if value is not None:
            raise SettingsError(f"{name} and {name}_FILE contradict each other. Set one of them.")
        return _read_secret(file, f"{name}_FILE")


def load_settings(**overrides: object) -> Settings:
    """The settings of this process, complete. Raises SettingsError, naming the first that is wrong."""
    settings = _read(Settings, overrides)
    _ = settings.encryption_keys, settings.refresh_keys, settings.hmac_secret
    return settings


def load_database_settings(**overrides: object) -> DatabaseSettings:
    """Only what reaches the database. Raises SettingsError."""
    return _read(DatabaseSettings, overrides)


S = TypeVar("S", bound=DatabaseSettings)


def _read(kind: type[S], overrides: Mapping[str, object]) -> S:
    try:
        return kind(**overrides)  # type: ignore[arg-type]  # pydantic checks them, and that is the point
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except UnicodeDecodeError as error:
        raise SettingsError("The file .env is not UTF-8 text.") from error


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"{PREFIX}{str(first['loc'][0]).upper()} is wrong: {message[:1].lower()}{message[1:]}."


def _read_secret(file: Path, name: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
