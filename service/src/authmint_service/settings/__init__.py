"""All settings, read once at the start from the environment and `.env`, and passed on as values from there.

No other package reads the environment. Each module has one group; `Settings` has them all, under flat names: the field `x` is
the variable `AUTHMINT_X`. Durations are seconds. An error names the variable, and never repeats a value.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from authmint.loopback import is_loopback
from authmint_service.cpus import usable_cores
from authmint_service.errors import SettingsError
from authmint_service.running_services import data_folder
from authmint_service.secret_keys import SecretKeys
from authmint_service.settings.browsers import BrowserSettings
from authmint_service.settings.database import DatabaseSettings
from authmint_service.settings.group import Secret, SettingsGroup, is_secret, required_advice, variable
from authmint_service.settings.listening import ListeningSettings
from authmint_service.settings.observability import ObservabilitySettings
from authmint_service.settings.passwords import PasswordSettings
from authmint_service.settings.secrets import SecretSettings
from authmint_service.settings.service import Environment, ServiceSettings
from authmint_service.settings.sessions import SessionSettings
from authmint_service.settings.signing import SigningSettings
from authmint_service.settings.tokens import TokenSettings
from authmint_service.settings.variables import Variables

__all__ = [
    "DatabaseSettings",
    "Environment",
    "Settings",
    "load_database_settings",
    "load_development_settings",
    "load_settings",
    "load_settings_of_another",
    "load_settings_without_secrets",
    "missing_variables",
    "notes_about_variables",
    "read_variables",
    "settings_without_secrets",
]

DRAIN_SECONDS = 6
"""Longer than uvicorn keeps an idle connection (5 s), so that none is left when the process stops."""


class Settings(
    ObservabilitySettings, BrowserSettings, PasswordSettings, SessionSettings, TokenSettings, SigningSettings, SecretSettings,
    DatabaseSettings, ListeningSettings, ServiceSettings,
):  # fmt: skip
    """All groups, and what depends on more than one of them. `docs/settings.md` explains each setting."""

    @model_validator(mode="after")
    def _check_lifetimes(self) -> Self:
        if not self.access_token_ttl < self.session_idle_ttl <= self.session_ttl:
            raise ValueError(
                "AUTHMINT_ACCESS_TOKEN_TTL must be shorter than AUTHMINT_SESSION_IDLE_TTL, and that no longer than "
                "AUTHMINT_SESSION_TTL."
            )
        return self

    @model_validator(mode="after")
    def _check_listeners(self) -> Self:
        if self.internal_port and (self.internal_host, self.internal_port) == (self.host, self.port):
            raise ValueError("AUTHMINT_PORT and AUTHMINT_INTERNAL_PORT contradict each other: they are the same port.")
        return self

    @property
    def issuer_url(self) -> str:
        """Return the issuer, equal to the `iss` of every token to the character."""
        return self.issuer or f"http://127.0.0.1:{self.port}"

    @property
    def uses_insecure_cookies(self) -> bool:
        """Return whether cookies lack `Secure`: on a development start on loopback http, where some browsers refuse it."""
        parts = urlsplit(self.issuer_url)
        return self.is_development and parts.scheme == "http" and is_loopback(parts.hostname or "")

    @property
    def serves_docs(self) -> bool:
        """Return whether `/docs` and the OpenAPI document are served."""
        return self.is_development if self.docs is None else self.docs

    @property
    def password_hash_slots(self) -> int:
        """Return how many password hashes one process computes at a time. By default its share of the cores, rounded up."""
        return self.password_hash_workers or -(-usable_cores() // self.workers)

    @property
    def shutdown_seconds(self) -> int:
        """Return how many seconds a process goes on serving after it was asked to stop."""
        if self.drain_seconds is not None:
            return self.drain_seconds
        return 0 if self.is_development else DRAIN_SECONDS

    def value_in_effect(self, field: str) -> object:
        """Return the value of a field, and where it was left out the one that is used instead."""
        derived = {
            "issuer": self.issuer_url,
            "password_hash_workers": self.password_hash_slots,
            "drain_seconds": self.shutdown_seconds,
            "docs": self.serves_docs,
        }
        return derived.get(field, getattr(self, field))


class _DevelopmentSettings(Settings):
    """The settings of `authmint-service dev`, with defaults for a person at a terminal."""

    environment: Environment = Environment.DEVELOPMENT
    data_dir: Path = Field(default_factory=data_folder)
    log_format: Literal["json", "console"] = "console"
    docs_client_id: str = "demo-spa"


class _GivenSettings(Settings):
    """The settings of another process: from their values alone, not from the environment."""

    reads_variables: ClassVar[bool] = False
    missing_secrets: tuple[str, ...] = ()
    """The fields of the secrets that the other process has, and this one has not."""

    def _keys(self, field: str, value: Secret | None) -> SecretKeys:
        # Most commands need no keys. One that does must not go on with others, which a development start would make.
        if field in self.missing_secrets:
            raise SettingsError(f"The service was started with {variable(field)}. Set it to the same value for this command.")
        return super()._keys(field, value)


def load_settings(**overrides: object) -> Settings:
    """Return all settings of this process. Raise SettingsError, which names all that are missing, or those that are wrong."""
    return _check_keys(_require_all(_load(Settings, overrides)))


def load_development_settings(**overrides: object) -> Settings:
    """Return the settings of `authmint-service dev`: from the environment, and not from `.env`, which is a deployment's."""
    return _check_keys(_load(_DevelopmentSettings, {"_env_file": None, **overrides}))


def load_settings_of_another(values: Mapping[str, object], secrets: Collection[str]) -> Settings:
    """Return the settings of another process of this computer. Raise SettingsError.

    `values`: as `settings_without_secrets` returns them; `secrets`: the fields of the secrets that the environment has to set,
    if they are used.
    """
    variables = Variables.read()
    read = {field: variables.read_secret(variable(field)) for field in secrets}
    given = {field: value for field, value in read.items() if value is not None}
    return _load(_GivenSettings, {**values, **given, "missing_secrets": sorted(read.keys() - given.keys())})


def settings_without_secrets(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Return the values that are no secrets, as JSON has them, and the fields of the secrets that are set."""
    fields = type(settings).model_fields
    secrets = {field for field in fields if is_secret(fields[field])}
    # The other process may run in another folder.
    paths = {field: str(value.absolute()) for field in fields if isinstance(value := getattr(settings, field), Path)}
    values = settings.model_dump(mode="json", exclude=secrets) | paths
    return values, sorted(field for field in secrets if getattr(settings, field) is not None)


def _check_keys(settings: Settings) -> Settings:
    # Keys are read now, and those of a development start made, so that a wrong one stops the start.
    _ = settings.encryption_keys, settings.refresh_keys, settings.hmac_secret
    settings.check_given_keys()
    _check_shared_secret(settings)
    return settings


def _check_shared_secret(settings: Settings) -> None:
    # Every service that verifies has it.
    lists = (settings.key_encryption_keys, settings.refresh_token_keys)
    if settings.shared_secret and any(
        settings.shared_secret.get_secret_value() in keys.get_secret_value() for keys in lists if keys
    ):
        raise SettingsError(
            "AUTHMINT_SHARED_SECRET is one of the keys of AUTHMINT_KEY_ENCRYPTION_KEYS or AUTHMINT_REFRESH_TOKEN_KEYS, which "
            "no other service may have. Make another with: openssl rand -base64 32"
        )


def load_settings_without_secrets(**overrides: object) -> Settings:
    """Return all settings, and neither refuse nor make what is missing. Keys are not checked. Raise SettingsError."""
    return _load(Settings, overrides)


def load_database_settings(**overrides: object) -> DatabaseSettings:
    """Return only the settings that reach the database. Raise SettingsError."""
    return _require_all(_load(DatabaseSettings, overrides))


def read_variables() -> Variables:
    """Return the variables of this process. Raise SettingsError if one with our prefix is no setting.

    First of all: of a name that is misspelt it would otherwise be said that the right one is missing.
    """
    return _checked(Variables.read())


def notes_about_variables() -> list[str]:
    """Return a sentence for each setting that was given, and has no effect. Raise SettingsError as `read_variables` does."""
    return read_variables().notes(variable_names())


def variable_names() -> list[str]:
    """Return the names of all variables that are settings, those with _FILE included."""
    names = []
    for name, field in Settings.model_fields.items():
        names += [variable(name), f"{variable(name)}_FILE"] if is_secret(field) else [variable(name)]
    return names


S = TypeVar("S", bound=SettingsGroup)
D = TypeVar("D", bound=DatabaseSettings)


def _load(kind: type[S], overrides: Mapping[str, object]) -> S:
    _checked(Variables.read(overrides.get("_env_file", ".env")))
    try:
        return kind(**overrides)
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None


def _checked(variables: Variables) -> Variables:
    variables.check_names(variable_names())
    return variables


def missing_variables(settings: DatabaseSettings) -> list[str]:
    """Return a sentence for each variable that is not set, and without which production does not start."""
    if settings.is_development:
        return []
    required = ((name, required_advice(field)) for name, field in type(settings).model_fields.items())
    return [f"{variable(name)} is missing. {advice}" for name, advice in required if advice and not getattr(settings, name)]


def _require_all(settings: D) -> D:
    """Raise SettingsError, which names all variables that are missing: one after another would cost a start each."""
    if missing := missing_variables(settings):
        raise SettingsError("\n".join(missing))
    return settings


def _describe(error: ValidationError) -> str:
    """Return a sentence about each error, without the value."""
    return "\n".join(map(_sentence, error.errors(include_input=False, include_url=False)))


def _sentence(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    return f"{variable(str(error['loc'][0]))} is wrong: {message[:1].lower()}{message[1:]}."
