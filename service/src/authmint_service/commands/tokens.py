"""`authmint-service tokens …`"""

import asyncio
from typing import Annotated

import typer

from authmint_service.administration import revoke_all_tokens
from authmint_service.commands.operator import operator
from authmint_service.commands.output import echo, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

app = typer.Typer(name="tokens", help="Access tokens that were issued already.", no_args_is_help=True)


@app.command()
def revoke(
    all_tokens: Annotated[bool, typer.Option("--all", help="All access tokens that were issued until now.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Revoke access tokens, at every service that follows the revocation list.

    Sessions stay: a refresh returns a new access token. To revoke sessions too, see: accounts disable, clients disable.
    """
    if not all_tokens:
        raise InvalidValue("tokens_missing", field="all")
    asyncio.run(_revoke_all(load_service_settings(data_dir)))
    echo("Every access token issued until now is revoked, at the services that follow the revocation list.")


async def _revoke_all(settings: Settings) -> None:
    async with open_database(settings) as database:
        await revoke_all_tokens(database, await ask_time(database), actor=operator())
