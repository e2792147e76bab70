"""`authmint-service clients …`: what changes a client that exists."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from authmint_service.clients import Client, ClientFields, ClientStore, ClientUpdate
from authmint_service.commands.client_options import (
    ClientId,
    CommandWithGrants,
    Many,
    check_client,
    client_row,
    read_or_make_secret,
)
from authmint_service.commands.operator import operator
from authmint_service.commands.output import AsJson, echo, echo_json, format_time, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import Database, ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

app = typer.Typer()

DAY_SECONDS = 86_400
DEFAULT = "default"
"""The word that takes away a lifetime of the client's own."""

Result = TypeVar("Result")


@app.command(cls=CommandWithGrants)
def update(
    client_id: ClientId,
    grant: Annotated[Many, typer.Option(help="A grant that it may use; may be repeated. It keeps no other one.")] = None,
    scope: Annotated[Many, typer.Option(help="A scope that it may have; may be repeated. It keeps no other one.")] = None,
    no_scopes: Annotated[bool, typer.Option("--no-scopes", help="It may have no scope.")] = False,
    resource: Annotated[Many, typer.Option(help="A resource of its tokens; may be repeated. It keeps no other one.")] = None,
    default_resource: Annotated[
        Many, typer.Option(help="A resource of tokens that name none in the request; may be repeated.")
    ] = None,
    refresh_grace_seconds: Annotated[
        str | None, typer.Option(help="Seconds in which the previous refresh token returns the current one; or: default.")
    ] = None,
    session_idle_ttl: Annotated[
        str | None, typer.Option(help="Seconds without a refresh until a session expires; or: default.")
    ] = None,
    session_ttl: Annotated[str | None, typer.Option(help="Seconds from sign-in until a session expires; or: default.")] = None,
    refresh_cookie: Annotated[
        bool | None, typer.Option("--refresh-cookie/--no-refresh-cookie", help="Send refresh tokens in a cookie only.")
    ] = None,
    origin: Annotated[Many, typer.Option(help="A web origin of its pages; may be repeated. It keeps no other one.")] = None,
    no_origins: Annotated[bool, typer.Option("--no-origins", help="It has no pages.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Change a client. What is not named stays, and so do its sessions.

    Where a grant, a scope or a resource is taken away, tokens with more than it may have are refused within two seconds.
    """
    fields: dict[str, Any] = {}
    if scope or no_scopes:
        if scope and no_scopes:
            raise InvalidValue("scopes_contradictory", field="scopes")
        fields["scopes"] = frozenset(scope or [])
    if origin or no_origins:
        if origin and no_origins:
            raise InvalidValue("origins_contradictory", field="origins")
        fields["origins"] = tuple(origin or [])
    if grant:
        fields["grants"] = frozenset(grant)
    if resource:
        fields["resources"] = tuple(resource)
    if default_resource:
        fields["default_resources"] = tuple(default_resource)
    if refresh_cookie is not None:
        fields["refresh_cookie"] = refresh_cookie
    lifetimes = {
        "refresh_grace_seconds": refresh_grace_seconds,
        "session_idle_ttl": session_idle_ttl,
        "session_ttl": session_ttl,
    }
    fields |= {name: _read_lifetime(name, text) for name, text in lifetimes.items() if text is not None}
    if not fields:
        raise InvalidValue("update_missing", field="client_id")
    _report(_update(client_id, data_dir, fields), as_json=as_json)


@app.command()
def rename(
    client_id: ClientId,
    name: Annotated[str, typer.Argument(help="The name to show to people.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Give a client another name to show to people. Its id stays: tokens, sessions and events name it."""
    _report(_update(client_id, data_dir, {"name": name}), as_json=as_json)


@app.command()
def disable(client_id: ClientId, data_dir: DataDir = None) -> None:
    """Disable a client: it gets no tokens, all its sessions are revoked, and so are its tokens at services that follow."""
    from authmint_service.administration import disable_client

    _run(data_dir, lambda database, now: disable_client(database, client_id, now, actor=operator()))
    echo(f"{client_id} is disabled, and all its sessions are revoked.")


@app.command()
def enable(client_id: ClientId, data_dir: DataDir = None) -> None:
    """Enable a client again. Revoked sessions stay revoked."""
    from authmint_service.administration import enable_client

    _run(data_dir, lambda database, now: enable_client(database, client_id, now, actor=operator()))
    echo(f"{client_id} may get tokens again.")


@app.command()
def delete(
    client_id: ClientId,
    confirmed: Annotated[bool, typer.Option("--yes", help="Delete it. It cannot be undone.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a client with its secrets, and end its sessions. Its id is never given again."""
    from authmint_service.administration import delete_client, unknown_client

    async def run(database: Database, now: float) -> None:
        store = ClientStore(database)
        if not confirmed:
            if (await store.load(client_id)).client is None:
                raise unknown_client(client_id)
            count = await store.count_sessions(client_id, now)
            raise InvalidValue("client_deletion_not_confirmed", field="yes", client_id=client_id, sessions=count)
        await delete_client(database, client_id, now, actor=operator())

    _run(data_dir, run)
    echo(f"{client_id} is deleted, and all its sessions are revoked.")


@app.command("add-secret")
def add_secret(
    client_id: ClientId,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3660, help="Left out: it does not expire.")] = None,
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Give a client a second secret, printed this once. Both are good until one is removed: so it changes without a gap."""
    from authmint_service.administration import add_client_secret

    secret = read_or_make_secret(from_stdin=secret_stdin)
    lifetime = None if expires_in_days is None else float(expires_in_days * DAY_SECONDS)
    added = _run(
        data_dir,
        lambda database, now: add_client_secret(database, client_id, secret, now, lifetime=lifetime, actor=operator()),
    )
    printed = {} if secret_stdin else {"client_secret": secret}
    if as_json:
        expires_at = None if added.expires_at is None else format_time(added.expires_at)
        echo_json({"client_id": client_id, "id": added.id, "expires_at": expires_at, **printed})
        return
    echo(f"{client_id} has the secret {added.id}.")
    if printed:
        echo(f"Secret, shown this once: {secret}")


@app.command("remove-secret")
def remove_secret(
    client_id: ClientId,
    secret_id: Annotated[str, typer.Argument(help="The secret's id: see clients show.")],
    data_dir: DataDir = None,
) -> None:
    """Remove a secret of a client. Its tokens are refused within two seconds; it gets new ones with its other secret."""
    from authmint_service.administration import remove_client_secret

    _run(data_dir, lambda database, now: remove_client_secret(database, client_id, secret_id, now, actor=operator()))
    echo(f"{client_id} has this secret no more.")


def _read_lifetime(name: str, text: str) -> int | None:
    if text == DEFAULT:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidValue("lifetime_invalid", field=name)
    return int(text)


def _update(client_id: str, data_dir: Path | None, fields: dict[str, Any]) -> ClientUpdate:
    from authmint_service.administration import update_client

    settings = load_service_settings(data_dir)

    def check(client: Client) -> None:
        check_client(settings, client, fields=fields)

    named: ClientFields = fields  # type: ignore[assignment]  # the names are those of the options above
    return _run_with(
        settings, lambda database, now: update_client(database, client_id, named, now, check=check, actor=operator())
    )


def _report(update: ClientUpdate, *, as_json: bool) -> None:
    if as_json:
        echo_json({**client_row(update.after), "changed": list(update.changed)})
        return
    before, after = client_row(update.before), client_row(update.after)
    if not update.changed:
        echo(f"{update.after.client_id} is like that already.")
    for name in update.changed:
        echo(f"{name}: {_text(before[name])} → {_text(after[name])}")


def _text(value: object) -> str:
    if value is None:
        return DEFAULT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (" ".join(value) or "none") if isinstance(value, list) else str(value)


def _run(data_dir: Path | None, change: Callable[[Database, float], Awaitable[Result]]) -> Result:
    return _run_with(load_service_settings(data_dir), change)


def _run_with(settings: Settings, change: Callable[[Database, float], Awaitable[Result]]) -> Result:
    """Return what `change` returns. It gets the database, and its time in seconds since the epoch."""

    async def run() -> Result:
        async with open_database(settings) as database:
            return await change(database, await ask_time(database))

    return asyncio.run(run())
