"""`authmint-service clients …`"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from authmint_service.clients import Client, ClientSecret, ClientSecretStore, ClientStore, secret_hash
from authmint_service.commands import client_changes
from authmint_service.commands.client_options import (
    ClientId,
    CommandWithGrants,
    Many,
    check_client,
    client_row,
    read_or_make_secret,
)
from authmint_service.commands.operator import operator
from authmint_service.commands.output import (
    DEFAULT_LIMIT,
    AsJson,
    Limit,
    cut,
    echo,
    echo_json,
    echo_record,
    echo_table,
    format_time,
    open_database,
)
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

app = typer.Typer(name="clients", help="Applications that may ask for tokens.", no_args_is_help=True)

COLUMNS = ("client_id", "confidential", "grants", "scopes", "resources", "enabled")
SECRET_COLUMNS = ("id", "created_at", "expires_at", "last_used_at")


@app.command(cls=CommandWithGrants)
def add(
    client_id: ClientId,
    confidential: Annotated[
        bool | None, typer.Option("--confidential/--public", help="Whether it can keep a secret. An SPA cannot.")
    ] = None,
    name: Annotated[str, typer.Option(help="A name to show to people.")] = "",
    grant: Annotated[Many, typer.Option(help="A grant that it may use; may be repeated.")] = None,
    scope: Annotated[Many, typer.Option(help="A scope that it may have; may be repeated.")] = None,
    resource: Annotated[Many, typer.Option(help="A resource that it may have tokens for; may be repeated.")] = None,
    default_resource: Annotated[
        Many, typer.Option(help="A resource of tokens that name none in the request; all resources if left out.")
    ] = None,
    refresh_grace_seconds: Annotated[
        int | None, typer.Option(help="Seconds in which the previous refresh token returns the current one.")
    ] = None,
    session_idle_ttl: Annotated[int | None, typer.Option(help="Seconds without a refresh until a session expires.")] = None,
    session_ttl: Annotated[int | None, typer.Option(help="Seconds from sign-in until a session expires.")] = None,
    refresh_cookie: Annotated[bool, typer.Option("--refresh-cookie", help="Send refresh tokens in a cookie only.")] = False,
    origin: Annotated[Many, typer.Option(help="A web origin of its pages; may be repeated.")] = None,
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add a client. The secret of a confidential client is made, and printed this once."""
    settings = load_service_settings(data_dir)
    if confidential is None:
        raise InvalidValue("confidential_missing", field="confidential")
    if secret_stdin and not confidential:
        raise InvalidValue("secret_not_allowed", field="secret")
    from authmint_service.grants import offered_grants

    secret = read_or_make_secret(from_stdin=secret_stdin) if confidential else None
    resources = tuple(resource or [settings.issuer_url])
    client = Client(
        client_id=client_id,
        name=name or client_id,
        confidential=confidential,
        grants=frozenset(grant or offered_grants(settings.grants).defaults(confidential=confidential)),
        scopes=frozenset(scope or []),
        resources=resources,
        default_resources=tuple(default_resource or resources),
        secret_hashes=(secret_hash(secret),) if secret else (),
        refresh_grace_seconds=refresh_grace_seconds,
        session_idle_ttl=session_idle_ttl,
        session_ttl=session_ttl,
        refresh_cookie=refresh_cookie,
        origins=tuple(origin or []),
    )
    check_client(settings, client)
    asyncio.run(_add(settings, client))
    printed = {"client_secret": secret} if secret and not secret_stdin else {}
    if as_json:
        echo_json({**client_row(client), **printed})
        return
    echo(f"Added the client {client.client_id}.")
    if printed:
        echo(f"Secret, shown this once: {secret}")


@app.command("list")
def list_clients(
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[str, typer.Option(help="Only those whose ids come after this one, the last of a list before.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the clients in the order of their ids. Secrets are not listed: only their hashes are stored."""
    found = asyncio.run(_list(load_service_settings(data_dir), limit + 1, after))
    rows = [client_row(client) for client in cut(found, limit, how="See --limit and --after.")]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no clients. Add one with: authmint-service clients add")


@app.command()
def show(client_id: ClientId, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show all of a client, and of its secrets the dates: only their hashes are stored."""
    client, secrets, sessions = asyncio.run(_show(load_service_settings(data_dir), client_id))
    row, rows = {**client_row(client), "live_sessions": sessions}, [_secret_row(secret) for secret in secrets]
    if as_json:
        echo_json({**row, "secrets": rows} if client.confidential else row)
        return
    echo_record(row)
    if client.confidential:
        echo("")
        echo_table(
            SECRET_COLUMNS, rows, empty=f"It has no secret. Add one with: authmint-service clients add-secret {client_id}"
        )


app.add_typer(client_changes.app)


def _secret_row(secret: ClientSecret) -> dict[str, Any]:
    return {name: format_time(value) if isinstance(value, float) else value for name, value in asdict(secret).items()}


async def _add(settings: Settings, client: Client) -> None:
    async with open_database(settings) as database:
        await ClientStore(database).add(client, await ask_time(database), actor=operator())


async def _list(settings: Settings, limit: int, after: str) -> Sequence[Client]:
    async with open_database(settings) as database:
        return await ClientStore(database).list(limit=limit, after=after)


async def _show(settings: Settings, client_id: str) -> tuple[Client, Sequence[ClientSecret], int]:
    """Return the client, its secrets, and the number of its live sessions."""
    from authmint_service.administration import unknown_client

    async with open_database(settings) as database:
        store = ClientStore(database)
        client = (await store.load(client_id)).client
        if client is None:
            raise unknown_client(client_id)
        sessions = await store.count_sessions(client_id, await ask_time(database))
        return client, await ClientSecretStore(database).list(client_id), sessions
