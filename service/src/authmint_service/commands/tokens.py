"""`authmint-service tokens …`"""

import asyncio
import time
from typing import Annotated

import typer

from authmint_service.commands.output import echo, open_database
from authmint_service.errors import InvalidValue
from authmint_service.revocations import RevocationStore
from authmint_service.settings import Settings, load_settings

app = typer.Typer(help="Access tokens that were issued already.", no_args_is_help=True)


@app.command()
def revoke(
    everyone: Annotated[bool, typer.Option("--everyone", help="All access tokens that were issued until now.")] = False,
) -> None:
    """Revoke access tokens, at every service that follows the list of revocations.

    Nobody is signed out: a refresh brings a new one. To end sessions as well, see: users disable, clients disable.
    """
    if not everyone:
        raise InvalidValue("Say whose: --everyone. One person: users disable. One client: clients disable.")
    asyncio.run(_revoke_all(load_settings()))
    echo("Every access token issued until now is revoked, at the services that follow the list of revocations.")


async def _revoke_all(settings: Settings) -> None:
    async with open_database(settings) as database:
        await RevocationStore(database).raise_global_epoch(time.time())
