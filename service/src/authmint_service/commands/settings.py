"""`authmint-service settings`"""

import sys
from dataclasses import asdict
from pathlib import Path

from authmint_service.commands.output import echo_json, echo_table
from authmint_service.commands.service_settings import find_service, settings_of_service
from authmint_service.settings import (
    load_settings_without_secrets,
    missing_variables,
    notes_about_variables,
    read_variables,
)
from authmint_service.settings.catalogue import list_settings_in_effect, list_settings_of_another

COLUMNS = ("variable", "value", "source")


def show_settings(*, data_dir: Path | None, as_json: bool) -> None:
    """Print every setting in effect and its source: of the development service that runs, or of a service started here."""
    service = find_service(data_dir)
    if service is None:
        settings = load_settings_without_secrets()
        settings.check_given_keys()
        found = list_settings_in_effect(settings, read_variables())
        for sentence in (*notes_about_variables(), *missing_variables(settings)):
            sys.stderr.write(f"{sentence}\n")
    else:
        found = list_settings_of_another(settings_of_service(service), service.secrets)
    rows = [asdict(setting) for setting in found]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no settings.")
