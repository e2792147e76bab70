"""Which service a command speaks to, and the settings that reach it.

The first of these that is there: the database of AUTHMINT_DATABASE_URL; the data folder of --data-dir or AUTHMINT_DATA_DIR; the
one development service that runs. A command never creates a database, so without any of these it is refused.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from authmint_service.embedded_postgres import has_database
from authmint_service.errors import SettingsError
from authmint_service.running_services import RunningService, running_services
from authmint_service.settings import (
    DatabaseSettings,
    Settings,
    load_database_settings,
    load_settings,
    load_settings_of_another,
    read_variables,
)
from authmint_service.settings.variables import Variables

DataDir = Annotated[
    Path | None,
    typer.Option(help="The data folder of a development service. Left out: see `authmint-service --help`.", show_default=False),
]
"""The option `--data-dir`, the same in every command that needs the database."""


def load_service_settings(data_dir: Path | None) -> Settings:
    """Return the settings of the service that a command speaks to. Raise SettingsError.

    `data_dir`: as the option says.
    """
    variables = read_variables()
    if _has_database_url(variables, data_dir):
        return load_settings()
    services = running_services()
    folder = _named_folder(variables, data_dir)
    if folder is None:
        return settings_of_service(_choose(services))
    service = _with_data_in(folder, services)
    if service is not None:
        return settings_of_service(service)
    if not has_database(folder):
        raise SettingsError(f"There is no database in {folder}. Make one with: authmint-service dev --data-dir {folder}")
    return load_settings(data_dir=folder, **_development(variables))


def find_service(data_dir: Path | None) -> RunningService | None:
    """Return the development service that a command speaks to, None if its settings are those of this process.

    `data_dir`: as the option says. Raise SettingsError if it names no service that runs.
    """
    variables = read_variables()
    if _has_database_url(variables, data_dir):
        return None
    services = running_services()
    folder = _named_folder(variables, data_dir)
    if folder is None:
        return _choose(services) if any(not service.ephemeral for service in services) else None
    service = _with_data_in(folder, services)
    if service is None and data_dir is not None:
        raise SettingsError(
            f"No service runs with its data in {folder}. Start one with: authmint-service dev --data-dir {folder}"
        )
    return service


def load_migration_settings() -> DatabaseSettings:
    """Return the settings of the database that is migrated. Raise SettingsError.

    A deployment whose database was forgotten must not migrate an embedded one and report success.
    """
    variables = read_variables()
    is_named = variables.find("AUTHMINT_DATA_DIR") is not None
    return load_database_settings(**_development(variables) if is_named else {})


def settings_of_service(service: RunningService) -> Settings:
    """Return the settings that a service runs with. Raise SettingsError."""
    return load_settings_of_another(service.settings, service.secrets)


def _has_database_url(variables: Variables, data_dir: Path | None) -> bool:
    if variables.find_secret("AUTHMINT_DATABASE_URL") is None:
        return False
    if data_dir is not None:
        raise SettingsError("AUTHMINT_DATABASE_URL is set, and --data-dir names another database. Leave out one of them.")
    return True


def _named_folder(variables: Variables, data_dir: Path | None) -> Path | None:
    named = variables.find("AUTHMINT_DATA_DIR")
    if data_dir is None and named is not None:
        data_dir = Path(named.value)
    return None if data_dir is None else data_dir.absolute()


def _with_data_in(folder: Path, services: Sequence[RunningService]) -> RunningService | None:
    return next((service for service in services if Path(service.data_dir).resolve() == folder.resolve()), None)


def _development(variables: Variables) -> dict[str, str]:
    """Return the environment of a command that is given a data folder: development, unless another one is set."""
    return {} if variables.find("AUTHMINT_ENVIRONMENT") is not None else {"environment": "development"}


def _choose(services: Sequence[RunningService]) -> RunningService:
    lasting = [service for service in services if not service.ephemeral]
    if len(lasting) == 1:
        (service,) = lasting
        sys.stderr.write(f"Speaking to the development service {service.url} (data in {service.data_dir}).\n")
        return service
    if services:
        found = "Several development services run" if lasting else "Only ephemeral development services run"
        listed = "\n".join(f"  {service.url}  --data-dir {service.data_dir}" for service in lasting or services)
        raise SettingsError(f"{found}. Choose one with --data-dir:\n{listed}")
    raise SettingsError(
        "No development service runs. Start one with `authmint-service dev`, or name a service: its data folder with "
        "--data-dir, or its database with AUTHMINT_DATABASE_URL."
    )
