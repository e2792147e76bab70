"""`mintmark-service`: the commands of whoever runs the service.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 exists already, 4 the database cannot be reached.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn

import typer
import uvicorn
import uvloop

from service import migrations
from service.app import check_encryption_keys, create_app
from service.bounded_http import BoundedHTTP
from service.commands import clients, keys, sessions, tokens, users
from service.commands.output import fail
from service.database import database_url
from service.draining import DrainingServer
from service.embedded_postgres import EmbeddedPostgresError
from service.errors import AlreadyExists, DatabaseUnavailable, Invalid, SchemaBehind, SettingsError
from service.settings import Settings, load_database_settings, load_settings
from service.telemetry import configure_logging

GRACEFUL_SECONDS = 10


class Exit(IntEnum):
    """What the shell learns."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    EXISTS = 3
    NO_DATABASE = 4


app = typer.Typer(
    name="mintmark-service",
    help="The Mintmark token service. Settings come from MINTMARK_… variables and from .env; see .env.example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(users.app, name="users")
app.add_typer(clients.app, name="clients")
app.add_typer(sessions.app, name="sessions")
app.add_typer(tokens.app, name="tokens")
app.add_typer(keys.app, name="keys")


@app.command()
def serve() -> None:
    """Serve the token service until Ctrl-C or SIGTERM."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    with _listen(settings) as listener:
        _run_until_stopped(_serve(settings, listener))


@app.command()
def migrate() -> None:
    """Bring the database schema to the version of this program. Safe to run from several machines at once."""
    logging.getLogger("alembic").setLevel(logging.WARNING)

    async def run() -> str | None:
        async with database_url(load_database_settings()) as dsn:
            return await migrations.migrate(dsn)

    typer.echo(f"The database schema is at revision {asyncio.run(run())}.")


async def _serve(settings: Settings, listener: socket.socket) -> None:
    # SIGTERM means the same as Ctrl-C from the very start, so that a database that has just been started is stopped again.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    async with database_url(settings) as dsn:
        if settings.hs256_secret is None:
            await check_encryption_keys(settings, dsn)
        app = create_app(settings, dsn=dsn)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=BoundedHTTP,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        await DrainingServer(config, app.state.draining, settings.drain).serve(sockets=[listener])


def _run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except KeyboardInterrupt:
        # uvicorn sends itself the signal again once it has stopped; everything is closed by now.
        return


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, before anything else is started: a taken port is the most frequent surprise."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        fail(
            f"Port {settings.port} on {settings.host} cannot be used: {error.strerror or error}. Set MINTMARK_PORT to another.",
            Exit.FAILED,
        )
    return listener


def main() -> NoReturn:
    """Runs a command; every foreseen failure is one sentence and an exit code."""
    try:
        app()
    except SettingsError as error:
        fail(str(error), Exit.WRONG_USAGE)
    except Invalid as error:
        fail(str(error), Exit.WRONG_USAGE)
    except AlreadyExists as error:
        fail(str(error), Exit.EXISTS)
    except SchemaBehind:
        fail("The database has not been migrated. Run: mintmark-service migrate", Exit.FAILED)
    except DatabaseUnavailable as error:
        fail(f"The database cannot be reached: {error.__cause__ or error}. Look at MINTMARK_DATABASE_URL.", Exit.NO_DATABASE)
    except EmbeddedPostgresError as error:
        fail(str(error), Exit.NO_DATABASE)
    except KeyboardInterrupt:
        fail("Stopped.", Exit.FAILED)
    sys.exit(Exit.DONE)


if __name__ == "__main__":
    main()
