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
from authmint_service.settings import Settings, load_settings, load_settings_of_another
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
    variables = Variables.read()
    if variables.find_secret("AUTHMINT_DATABASE_URL") is not None:
        if data_dir is not None:
            raise SettingsError("AUTHMINT_DATABASE_URL is set, and --data-dir names another database. Leave out one of them.")
        return load_settings()
    services = running_services()
    named = variables.find("AUTHMINT_DATA_DIR")
    if data_dir is None and named is not None:
        data_dir = Path(named.value)
    if data_dir is not None:
        has_environment = variables.find("AUTHMINT_ENVIRONMENT") is not None
        return _settings_of_folder(data_dir.absolute(), services, has_environment=has_environment)
    service = _choose([service for service in services if not service.ephemeral])
    sys.stderr.write(f"Speaking to the development service {service.url} (data in {service.data_dir}).\n")
    return _settings_of_service(service)


def _settings_of_folder(folder: Path, services: Sequence[RunningService], *, has_environment: bool) -> Settings:
    for service in services:
        if Path(service.data_dir) == folder:
            return _settings_of_service(service)
    if not has_database(folder):
        raise SettingsError(f"There is no database in {folder}. Make one with: authmint-service dev --data-dir {folder}")
    # An embedded database is one of a development service, whether the environment says so or not.
    development = {} if has_environment else {"environment": "development"}
    return load_settings(data_dir=folder, **development)


def _settings_of_service(service: RunningService) -> Settings:
    return load_settings_of_another(service.settings, service.secrets)


def _choose(services: Sequence[RunningService]) -> RunningService:
    if len(services) == 1:
        return services[0]
    if services:
        listed = "\n".join(f"  {service.url}  --data-dir {service.data_dir}" for service in services)
        raise SettingsError(f"Several development services run. Choose one with --data-dir:\n{listed}")
    raise SettingsError(
        "No development service runs. Start one with `authmint-service dev`, or name a service: its data folder with "
        "--data-dir, or its database with AUTHMINT_DATABASE_URL."
    )
