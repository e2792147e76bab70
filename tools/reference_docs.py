"""The pages of the documentation site that are read from the programs: commands and routes. `docs/conf.py` adds them."""

import base64
import os
from collections.abc import Iterator
from typing import Any

import typer.main

from authmint_service.app import create_app
from authmint_service.cli import app as program
from authmint_service.settings import load_settings


def commands_page() -> str:
    """Return a section for each command of `authmint-service`, with its arguments and options."""
    return "\n".join(_command("authmint-service", typer.main.get_command(program)))


def routes_page() -> str:
    """Return a table of the routes for each tag of the OpenAPI document."""
    keys = {name: f"1:{base64.b64encode(os.urandom(32)).decode()}" for name in ("key_encryption_keys", "refresh_token_keys")}
    nowhere = "postgresql://127.0.0.1/none"
    settings = load_settings(_env_file=None, issuer="https://auth.example.com", database_url=nowhere, log_level="ERROR", **keys)
    document = create_app(settings).openapi()
    rows: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = " ".join(sorted(operation["responses"]))
            row = f"| `{method.upper()} {path}` | {_cell(operation.get('summary', ''))} | {statuses} |"
            rows.setdefault(" ".join(operation.get("tags", ["Service"])), []).append(row)
    head = "| route | what it does | statuses |\n|---|---|---|\n"
    return "\n".join(f"## {title}\n\n{head}" + "\n".join(lines) + "\n" for title, lines in rows.items())


def _command(name: str, command: Any) -> Iterator[str]:
    # The types of typer's commands are private to it.
    if hasattr(command, "list_commands"):
        for one in command.list_commands(None):
            yield from _command(f"{name} {one}", command.get_command(None, one))
        return
    yield f"## `{name}`\n\n{(command.help or '').strip()}\n"
    rows = [f"| {_names(one)} | {_cell(getattr(one, 'help', None) or '')} |" for one in command.params if one.name != "help"]
    if rows:
        yield "\n".join(["| argument or option | meaning |", "|---|---|", *rows]) + "\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
