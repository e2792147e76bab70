"""`mintmark-service tokens …`"""

import asyncio
import time
from typing import Annotated

import typer

from service.commands.output import open_for_command, say
from service.errors import Invalid
from service.revocations import RevocationStore
from service.settings import Settings, load_settings

app = typer.Typer(help="Access tokens that were issued already.", no_args_is_help=True)


@app.command()
def revoke(
    everyone: Annotated[bool, typer.Option("--everyone", help="All access tokens that were issued until now.")] = False,
) -> None:
    """Revoke access tokens, at every service that follows the list of revocations.

    Nobody is signed out: a refresh brings a new one. To end sessions as well, see: users disable, clients disable.
    """
    if not everyone:
        raise Invalid("Say whose: --everyone. One person: users disable. One client: clients disable.")
    asyncio.run(_revoke_all(load_settings()))
    say("Every access token issued until now is revoked, at the services that follow the list of revocations.")


async def _revoke_all(settings: Settings) -> None:
    async with open_for_command(settings) as database:
        await RevocationStore(database).revoke_all(time.time())
