"""`authmint-service`: the commands of whoever runs the service.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 exists already, 4 the database cannot be reached.
"""

import asyncio
import logging
import socket
import sys
from contextlib import ExitStack
from enum import IntEnum
from typing import Annotated, NoReturn

import typer

from authmint_service import migrations, serving
from authmint_service.commands import accounts, clients, keys, sessions, tokens
from authmint_service.commands.output import fail
from authmint_service.database import database_url
from authmint_service.embedded_postgres import EmbeddedPostgresError
from authmint_service.errors import AlreadyExists, DatabaseUnavailable, InvalidValue, SchemaOutdated, SettingsError
from authmint_service.logs import configure_logging
from authmint_service.settings import Settings, load_database_settings, load_settings


class Exit(IntEnum):
    """What the shell learns."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    EXISTS = 3
    NO_DATABASE = 4


app = typer.Typer(
    name="authmint-service",
    help="The Authmint token service. Settings come from AUTHMINT_… variables and from .env; see .env.example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(accounts.app, name="accounts")
app.add_typer(clients.app, name="clients")
app.add_typer(sessions.app, name="sessions")
app.add_typer(tokens.app, name="tokens")
app.add_typer(keys.app, name="keys")


@app.command()
def serve(
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes. Left out: AUTHMINT_WORKERS, or one.")] = None,
) -> None:
    """Serve the token service until Ctrl-C or SIGTERM."""
    settings = load_settings() if workers is None else load_settings(workers=workers)
    configure_logging(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _listen(settings)]
        if not serving.serve(settings, listeners):
            raise typer.Exit(Exit.FAILED)


@app.command()
def migrate() -> None:
    """Bring the database schema to the version of this program. Safe to run from several machines at once."""
    logging.getLogger("alembic").setLevel(logging.WARNING)

    async def run() -> str | None:
        async with database_url(load_database_settings()) as dsn:
            return await migrations.migrate(dsn)

    typer.echo(f"The database schema is at revision {asyncio.run(run())}.")


def _listen(settings: Settings) -> list[socket.socket]:
    try:
        return serving.listen(settings.host, settings.port, settings.workers)
    except OSError as error:
        fail(
            f"Port {settings.port} on {settings.host} cannot be used: {error.strerror or error}. Set AUTHMINT_PORT to another.",
            Exit.FAILED,
        )


def main() -> NoReturn:
    """Runs a command; every foreseen failure is one sentence and an exit code."""
    try:
        app()
    except SettingsError as error:
        fail(str(error), Exit.WRONG_USAGE)
    except InvalidValue as error:
        fail(str(error), Exit.WRONG_USAGE)
    except AlreadyExists as error:
        fail(str(error), Exit.EXISTS)
    except SchemaOutdated:
        fail("The database has not been migrated. Run: authmint-service migrate", Exit.FAILED)
    except DatabaseUnavailable as error:
        fail(f"The database cannot be reached: {error.__cause__ or error}. Look at AUTHMINT_DATABASE_URL.", Exit.NO_DATABASE)
    except EmbeddedPostgresError as error:
        fail(str(error), Exit.NO_DATABASE)
    except KeyboardInterrupt:
        fail("Stopped.", Exit.FAILED)
    sys.exit(Exit.DONE)


if __name__ == "__main__":
    main()
