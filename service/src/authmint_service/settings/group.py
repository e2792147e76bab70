"""The base of all groups of settings: where they are read from, and how a secret is read from a file."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from authmint_service.errors import SettingsError

PREFIX = "AUTHMINT_"
MINUTE, HOUR, DAY = 60, 3600, 86_400


class SettingsGroup(BaseSettings):
    """Settings that belong together. The field `x` is the variable `AUTHMINT_X`, from the environment or from `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, hide_input_in_errors=True,
        env_ignore_empty=True,
    )  # fmt: skip


def variable(field: str) -> str:
    """Return the name of a field's variable, as a person writes it."""
    return f"{PREFIX}{field.upper()}"


def read_secret(field: str, value: SecretStr | None, file: Path | None) -> str | None:
    """Return a secret from its variable `X`, or from the file that `X_FILE` names; None if neither is set.

    Raise SettingsError if both are set, or if the file cannot be read.
    """
    name = variable(field)
    if file is None:
        return None if value is None else value.get_secret_value()
    if value is not None:
        raise SettingsError(f"{name} and {name}_FILE contradict each other. Set one of them.")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{name}_FILE cannot be read: {reason}.") from error
