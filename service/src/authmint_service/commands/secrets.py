"""`authmint-service secrets …`"""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from authmint_service.administration.secrets import SecretUsage, drop_refresh_token_key, read_secret_usage
from authmint_service.commands.operator import operator
from authmint_service.commands.output import AsJson, echo, echo_json, echo_table, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.processes import SecretKind, is_current_anywhere
from authmint_service.settings import Settings

app = typer.Typer(name="secrets", help="The secret keys of the settings, by their ids.", no_args_is_help=True)

COLUMNS = ("kind", "id", "current", "in_use", "processes", "lacking_processes", "sessions", "one_time_tokens", "signing_keys")


@app.command("list")
def list_secrets(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the ids of the secret keys: which live processes have each, and what depends on it. No secret is shown."""

    async def run(settings: Settings) -> SecretUsage:
        async with open_database(settings) as database:
            return await read_secret_usage(database, await ask_time(database))

    usage = asyncio.run(run(load_service_settings(data_dir)))
    rows = list(rows_of(usage))
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        row |= {name: len(row[name]) for name in ("processes", "lacking_processes")}
    echo_table(COLUMNS, rows, empty="No process runs, and no key is in use.")
    if unknown := usage.sessions.get(None, 0):
        echo(f"{unknown} sessions do not say which key they depend on. They do after their next refresh.")


@app.command()
def drop(
    key_id: Annotated[int, typer.Argument(min=1, max=255, help="The id of a refresh-token key; see secrets list.")],
    force: Annotated[bool, typer.Option("--force", help="Revoke the sessions that depend on it.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Drop a refresh-token key, so that it can be removed from the settings. Refused while a live session depends on it."""

    async def run(settings: Settings) -> int:
        async with open_database(settings) as database:
            now = await ask_time(database)
            return await drop_refresh_token_key(database, key_id, now, actor=operator(), force=force)

    revoked = asyncio.run(run(load_service_settings(data_dir)))
    echo(f"Dropped the refresh-token key {key_id}, and revoked {revoked} session{'' if revoked == 1 else 's'}.")
    echo("Remove the key from AUTHMINT_REFRESH_TOKEN_KEYS of every process.")


def rows_of(usage: SecretUsage) -> Iterator[dict[str, Any]]:
    """Return a row for each key that a live process has, or that is in use."""
    with_sessions = {key_id for key_id in usage.sessions if key_id is not None}
    in_use_by_kind: dict[SecretKind, frozenset[int]] = {
        SecretKind.REFRESH_TOKEN: frozenset(usage.live.used) | with_sessions | usage.one_time_tokens.keys(),
        SecretKind.KEY_ENCRYPTION: frozenset(usage.signing_keys),
    }
    for kind, in_use in in_use_by_kind.items():
        key_ids, is_refresh = usage.key_ids(kind), kind is SecretKind.REFRESH_TOKEN
        for key_id in sorted(in_use.union(*key_ids)):
            having = usage.having(kind, key_id)
            yield {
                "kind": kind.value,
                "id": key_id,
                "current": is_current_anywhere(key_id, key_ids),
                "in_use": key_id in in_use,
                "processes": having,
                "lacking_processes": [process.id for process in usage.live.processes if process.id not in having],
                "sessions": usage.sessions.get(key_id, 0) if is_refresh else None,
                "one_time_tokens": usage.one_time_tokens.get(key_id, 0) if is_refresh else None,
                "signing_keys": None if is_refresh else usage.signing_keys.get(key_id, 0),
            }
