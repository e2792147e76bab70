"""`authmint-service settings`"""

from dataclasses import asdict

from authmint_service.commands.output import echo_json, echo_table
from authmint_service.settings import load_settings_without_secrets
from authmint_service.settings.catalogue import list_settings_in_effect
from authmint_service.settings.variables import Variables

COLUMNS = ("variable", "value", "source")


def show_settings(*, as_json: bool) -> None:
    """Print every setting in effect and its source."""
    settings = load_settings_without_secrets()
    settings.check_given_keys()
    rows = [asdict(setting) for setting in list_settings_in_effect(settings, Variables.read())]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no settings.")
