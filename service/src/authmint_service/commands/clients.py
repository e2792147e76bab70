"""`authmint-service clients …`"""

import asyncio
import time
from typing import Annotated, Any

import typer

from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.commands.accounts import AsJson
from authmint_service.commands.output import echo, echo_json, echo_table, open_database, read_secret_line
from authmint_service.errors import InvalidValue
from authmint_service.grants import GRANT_TYPES, check_client_grants
from authmint_service.settings import Settings, load_settings
from authmint_service.web_origins import are_of_different_sites

app = typer.Typer(help="Applications that may ask for tokens.", no_args_is_help=True)

MIN_SECRET_LENGTH = 32
Many = list[str] | None


@app.command()
def add(
    client_id: Annotated[str, typer.Argument(help="The client's id.")],
    confidential: Annotated[
        bool | None, typer.Option("--confidential/--public", help="Can it keep a secret? An SPA cannot.")
    ] = None,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    grant: Annotated[Many, typer.Option(help=f"One of {', '.join(GRANT_TYPES)}; may be repeated.")] = None,
    scope: Annotated[Many, typer.Option(help="A scope it may have; may be repeated.")] = None,
    audience: Annotated[Many, typer.Option(help="A resource server it may have tokens for; may be repeated.")] = None,
    default_audience: Annotated[Many, typer.Option(help="Those it gets without asking; all audiences if left out.")] = None,
    refresh_grace_seconds: Annotated[
        int | None, typer.Option(help="Seconds in which the last refresh token still counts.")
    ] = None,
    session_idle_ttl: Annotated[int | None, typer.Option(help="Seconds without a refresh that end a session.")] = None,
    session_ttl: Annotated[int | None, typer.Option(help="Seconds after which a session ends.")] = None,
    refresh_cookie: Annotated[bool, typer.Option("--refresh-cookie", help="Refresh tokens in a cookie alone; an SPA.")] = False,
    origin: Annotated[Many, typer.Option(help="An origin that its pages come from; may be repeated.")] = None,
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a client. The secret of a confidential client is shown this once."""
    settings = load_settings()
    if confidential is None:
        raise InvalidValue("Say whether the client can keep a secret: --confidential or --public.")
    secret = _secret(confidential=confidential, from_stdin=secret_stdin)
    resources = tuple(audience or [settings.issuer_url])
    client = Client(
        client_id=client_id,
        name=name or client_id,
        confidential=confidential,
        grants=frozenset(grant or (["client_credentials"] if confidential else ["password", "refresh_token"])),
        scopes=frozenset(scope or []),
        resources=resources,
        default_resources=tuple(default_audience or resources),
        secret_hashes=(secret_hash(secret),) if secret else (),
        refresh_grace_seconds=refresh_grace_seconds,
        session_idle_ttl=session_idle_ttl,
        session_ttl=session_ttl,
        refresh_cookie=refresh_cookie,
        origins=tuple(origin or []),
    )
    check_client_grants(client.grants, confidential=client.confidential)
    _check_against(settings, client)
    asyncio.run(_add(settings, client))
    shown = {"client_secret": secret} if secret and not secret_stdin else {}
    if as_json:
        echo_json({**_row(client), **shown})
        return
    echo(f"Added the client {client.client_id}.")
    if shown:
        echo(f"Secret, shown this once: {secret}")


@app.command("list")
def list_clients(as_json: AsJson = False) -> None:
    """List clients. Secrets cannot be shown: only their hashes are kept."""
    rows = [_row(client) for client in asyncio.run(_list(load_settings()))]
    if as_json:
        echo_json(rows)
    else:
        columns = ("client_id", "confidential", "grants", "scopes", "resources", "enabled")
        echo_table(columns, rows, empty="There are no clients. Add one with: authmint-service clients add")


@app.command()
def disable(client_id: Annotated[str, typer.Argument(help="Which client shall have no tokens any more.")]) -> None:
    """Disable a client: no token from now on, all sessions through it end, and services that follow refuse what it has."""
    _set_enabled(client_id, enabled=False)
    echo(f"{client_id} is disabled, and everybody is signed out of it.")


@app.command()
def enable(client_id: Annotated[str, typer.Argument(help="Which client may have tokens again.")]) -> None:
    """Enable a client again. Sessions that were ended stay ended."""
    _set_enabled(client_id, enabled=True)
    echo(f"{client_id} may have tokens again.")


def _check_against(settings: Settings, client: Client) -> None:
    if client.session_idle_ttl is not None and client.session_idle_ttl <= settings.access_token_ttl:
        raise InvalidValue(
            f"A session must outlive an access token: more than {settings.access_token_ttl} seconds of idleness."
        )
    for origin in client.origins if client.refresh_cookie else ():
        if are_of_different_sites(origin, settings.issuer_url):
            raise InvalidValue(
                f"{origin} and {settings.issuer_url} are different sites for a browser: pages there never send the cookie."
            )


def _secret(*, confidential: bool, from_stdin: bool) -> str | None:
    if not confidential:
        if from_stdin:
            raise InvalidValue("A public client has no secret: leave out --secret-stdin, or say --confidential.")
        return None
    if not from_stdin:
        return new_client_secret()
    secret = read_secret_line("secret")
    if len(secret) < MIN_SECRET_LENGTH or len(set(secret)) < MIN_SECRET_LENGTH // 3:
        raise InvalidValue(f"The secret is too easy to guess: it needs {MIN_SECRET_LENGTH} random characters at least.")
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


async def _add(settings: Settings, client: Client) -> None:
    async with open_database(settings) as database:
        await ClientStore(database).add(client, time.time())


def _set_enabled(client_id: str, *, enabled: bool) -> None:
    async def run(settings: Settings) -> bool:
        async with open_database(settings) as database:
            store = ClientStore(database)
            return await (store.enable(client_id) if enabled else store.disable(client_id, time.time()))

    if not asyncio.run(run(load_settings())):
        raise InvalidValue(f"There is no client {client_id}. See: authmint-service clients list")


async def _list(settings: Settings) -> list[Client]:
    async with open_database(settings) as database:
        return list(await ClientStore(database).list())
