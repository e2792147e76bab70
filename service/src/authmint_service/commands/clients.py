"""`authmint-service clients …`"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from authmint_service.clients import Client, ClientStore, ScopesUpdate, new_client_secret, secret_hash
from authmint_service.commands.operator import operator
from authmint_service.commands.output import (
    DEFAULT_LIMIT,
    AsJson,
    Limit,
    cut,
    echo,
    echo_json,
    echo_table,
    open_database,
    read_secret_line,
)
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings
from authmint_service.web_origins import are_of_different_sites

app = typer.Typer(name="clients", help="Applications that may ask for tokens.", no_args_is_help=True)

MIN_SECRET_LENGTH = 32
COLUMNS = ("client_id", "confidential", "grants", "scopes", "resources", "enabled")

CONFIDENTIAL_ONLY = " (confidential clients alone)"
GRANT_HELP = "A grant that it may use; may be repeated"

ClientId = Annotated[str, typer.Argument(help="The client's id.")]
Many = list[str] | None


class CommandWithGrants(TyperCommand):
    """Name the grants in the help of `--grant`. They are imported when this command runs, and by no other command."""

    def get_params(self, ctx: Any) -> Any:
        from authmint_service.grants import offered_grants

        grants = [grant.name + CONFIDENTIAL_ONLY * grant.confidential_only for grant in offered_grants()]
        for option in self.params:
            if isinstance(option, TyperOption) and option.name == "grant":
                option.help = f"{GRANT_HELP}: {', '.join(grants)}."
        return super().get_params(ctx)


@app.command(cls=CommandWithGrants)
def add(
    client_id: ClientId,
    confidential: Annotated[
        bool | None, typer.Option("--confidential/--public", help="Whether it can keep a secret. An SPA cannot.")
    ] = None,
    name: Annotated[str, typer.Option(help="A name to show to people.")] = "",
    grant: Annotated[Many, typer.Option(help=f"{GRANT_HELP}.")] = None,
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
    from authmint_service.grants import offered_grants

    registry = offered_grants(settings.grants)
    secret = _read_or_make_secret(confidential=confidential, from_stdin=secret_stdin)
    resources = tuple(resource or [settings.issuer_url])
    client = Client(
        client_id=client_id,
        name=name or client_id,
        confidential=confidential,
        grants=frozenset(grant or registry.defaults(confidential=confidential)),
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
    registry.check_client(client.grants, confidential=client.confidential)
    _check_with_settings(settings, client)
    asyncio.run(_add(settings, client))
    printed = {"client_secret": secret} if secret and not secret_stdin else {}
    if as_json:
        echo_json({**_row(client), **printed})
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
    rows = [_row(client) for client in cut(found, limit, how="See --limit and --after.")]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="There are no clients. Add one with: authmint-service clients add")


@app.command()
def update(
    client_id: ClientId,
    scope: Annotated[Many, typer.Option(help="A scope that it may have; may be repeated. It keeps no other one.")] = None,
    no_scopes: Annotated[bool, typer.Option("--no-scopes", help="It may have no scope.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Change the scopes of a client. Its sessions stay; tokens with more than it may have are refused within two seconds."""
    if bool(scope) == no_scopes:
        raise InvalidValue("update_missing", field="scopes")
    updated = asyncio.run(_update(load_service_settings(data_dir), client_id, scope or []))
    added, removed = sorted(updated.added), sorted(updated.removed)
    if as_json:
        echo_json({"client_id": client_id, "scopes": sorted(updated.scopes), "added": added, "removed": removed})
        return
    echo(f"{client_id} may have: {' '.join(sorted(updated.scopes)) or 'no scope'}.")
    for what, names in (("Added", added), ("Removed", removed)):
        if names:
            echo(f"{what}: {' '.join(names)}.")


@app.command()
def disable(client_id: ClientId, data_dir: DataDir = None) -> None:
    """Disable a client: it gets no tokens, all its sessions are revoked, and so are its tokens at services that follow."""
    _set_enabled(client_id, data_dir, enabled=False)
    echo(f"{client_id} is disabled, and all its sessions are revoked.")


@app.command()
def enable(client_id: ClientId, data_dir: DataDir = None) -> None:
    """Enable a client again. Revoked sessions stay revoked."""
    _set_enabled(client_id, data_dir, enabled=True)
    echo(f"{client_id} may get tokens again.")


def _check_with_settings(settings: Settings, client: Client) -> None:
    if client.session_idle_ttl is not None and client.session_idle_ttl <= settings.access_token_ttl:
        raise InvalidValue("session_idle_ttl_too_short", field="session_idle_ttl", minimum=settings.access_token_ttl)
    for origin in client.origins if client.refresh_cookie else ():
        if are_of_different_sites(origin, settings.issuer_url):
            raise InvalidValue("origins_other_site", field="origins", origin=origin, issuer=settings.issuer_url)


def _read_or_make_secret(*, confidential: bool, from_stdin: bool) -> str | None:
    if not confidential:
        if from_stdin:
            raise InvalidValue("secret_not_allowed", field="secret")
        return None
    if not from_stdin:
        return new_client_secret()
    secret = read_secret_line("secret")
    if len(secret) < MIN_SECRET_LENGTH or len(set(secret)) < MIN_SECRET_LENGTH // 3:
        raise InvalidValue("secret_too_weak", field="secret", minimum=MIN_SECRET_LENGTH)
    return secret


def _row(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "subject": client.subject,
        "confidential": client.confidential,
        "grants": sorted(client.grants),
        "scopes": sorted(client.scopes),
        "resources": list(client.resources),
        "default_resources": list(client.default_resources),
        "refresh_grace_seconds": client.refresh_grace_seconds,
        "session_idle_ttl": client.session_idle_ttl,
        "session_ttl": client.session_ttl,
        "refresh_cookie": client.refresh_cookie,
        "origins": list(client.origins),
        "enabled": client.enabled,
    }


async def _update(settings: Settings, client_id: str, scopes: list[str]) -> ScopesUpdate:
    from authmint_service.administration import update_client_scopes

    async with open_database(settings) as database:
        return await update_client_scopes(ClientStore(database), client_id, scopes, await ask_time(database), actor=operator())


async def _add(settings: Settings, client: Client) -> None:
    async with open_database(settings) as database:
        await ClientStore(database).add(client, await ask_time(database), actor=operator())


def _set_enabled(client_id: str, data_dir: Path | None, *, enabled: bool) -> None:
    async def run(settings: Settings) -> bool:
        async with open_database(settings) as database:
            store = ClientStore(database)
            change = store.enable if enabled else store.disable
            return await change(client_id, await ask_time(database), actor=operator())

    if not asyncio.run(run(load_service_settings(data_dir))):
        raise InvalidValue("client_id_unknown", field="client_id", client_id=client_id)


async def _list(settings: Settings, limit: int, after: str) -> Sequence[Client]:
    async with open_database(settings) as database:
        return await ClientStore(database).list(limit=limit, after=after)
