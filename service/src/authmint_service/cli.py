"""`authmint-service`: the commands for operators of the service.

A command imports what it needs when it runs: `accounts list` needs neither FastAPI nor cryptography, and starts faster without.
The exit codes are `ExitCode`.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from authmint_service.commands.output import AsJson, ExitCode, echo, fail
from authmint_service.commands.service_settings import DataDir
from authmint_service.embedded_postgres import EmbeddedPostgresError
from authmint_service.errors import (
    AlreadyExists,
    DatabaseUnavailable,
    DependencyError,
    InvalidValue,
    MigrationFailed,
    SchemaOutdated,
    SettingsError,
    Unavailability,
)
from authmint_service.settings import load_settings, read_variables

GROUPS = ("accounts", "clients", "sessions", "tokens", "keys", "secrets", "events", "deliveries")
"""The modules of `commands` that have an `app` of commands, in the order in which they are listed."""

UNAVAILABLE = {
    Unavailability.UNREACHABLE: "The database cannot be reached: {}. Check AUTHMINT_DATABASE_URL.",
    Unavailability.EXHAUSTED: "The database has no connection left: {}. Raise its max_connections, or lower "
    "AUTHMINT_DATABASE_POOL_SIZE.",
    Unavailability.READ_ONLY: "The database takes no writes: {}. Check that AUTHMINT_DATABASE_URL leads to no replica.",
    Unavailability.REFUSED: "The database refuses: {}. Check AUTHMINT_DATABASE_URL, and the rights of its role.",
    Unavailability.FAILED: "The database fails: {}. Its own log says more.",
}
"""The sentence about a database that cannot be used, which repeats its own words."""
EMBEDDED_UNREACHABLE = "The embedded database cannot be reached: {}. The computer may be busy: try again."


class LazyGroups(TyperGroup):
    """Import a group of commands when one of them runs, or when all are listed."""

    # The types of the context and of a command are private to typer.
    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        return typer.main.get_group(import_module(f"authmint_service.commands.{cmd_name}").app)


app = typer.Typer(
    name="authmint-service",
    help=(
        "The Authmint token service. Settings come from AUTHMINT_… variables and from .env; see .env.example.\n\n"
        "Commands that need the database use the one of AUTHMINT_DATABASE_URL; without it, the one in the folder of "
        "--data-dir or AUTHMINT_DATA_DIR; without these, the one of the development service that runs."
    ),
    cls=LazyGroups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(requested: bool) -> None:
    if requested:
        echo(f"authmint-service {version('authmint-service')}")
        raise typer.Exit(ExitCode.OK)


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Declare the options before the command."""


@app.command()
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Number of processes. Left out: AUTHMINT_WORKERS, or one.")
    ] = None,
) -> None:
    """Serve the token service until Ctrl-C or SIGTERM."""
    settings = load_settings() if workers is None else load_settings(workers=workers)

    # After the settings: a wrong one stops the start before FastAPI is imported.
    from authmint_service.uvicorn_names import check_uvicorn

    check_uvicorn()
    from authmint_service import serving
    from authmint_service.logs import configure_logging

    configure_logging(settings.log_level, settings.log_format)
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _listen(settings.host, settings.port, settings.workers)]
        internal = None
        if settings.internal_port is not None:
            (internal,) = _listen(settings.internal_host, settings.internal_port, 1, "INTERNAL_PORT")
            stack.enter_context(internal)
        if not serving.serve(settings, listeners, internal):
            raise typer.Exit(ExitCode.FAILED)


@app.command()
def dev(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of its data. Left out: AUTHMINT_DATA_DIR, or a folder of this user's.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the token service; 0: any. Left out: AUTHMINT_PORT, or 8000."),
    ] = None,
    page_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the example page; 0: any. Left out: 8003, or 0 with --port 0.")
    ] = None,
    orders_url: Annotated[str, typer.Option(help="URL of the orders example, for the page.")] = "",
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Use a temporary folder, and remove it at the end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses and credentials as one JSON document, when it is ready.")
    ] = False,
) -> None:
    """Start everything for development: PostgreSQL, the token service, a page, one account and three clients.

    Settings come from AUTHMINT_… variables, and not from .env. It is no deployment: for that see serve.
    """
    if ephemeral and data_dir is not None:
        raise InvalidValue("data_dir_not_allowed", field="data_dir")

    from authmint_service import development

    development.run(
        development.Options(
            data_dir=data_dir, port=port, page_port=page_port, orders_url=orders_url, ephemeral=ephemeral, as_json=as_json
        )
    )


@app.command()
def migrate() -> None:
    """Bring the database schema to the version of this program. Several processes may do it at once."""
    from authmint_service import migrations
    from authmint_service.commands.service_settings import load_migration_settings
    from authmint_service.database import database_url

    logging.getLogger("alembic").setLevel(logging.WARNING)

    database = load_migration_settings()
    if database.uses_embedded_database:
        sys.stderr.write(f"Migrating the embedded database in {database.data_dir.absolute()}.\n")
    for note in database.connection_notes():
        sys.stderr.write(f"{note}\n")

    async def run() -> str | None:
        async with database_url(database) as dsn:
            return await migrations.migrate(dsn)

    echo(f"The database schema is at revision {asyncio.run(run())}.")


@app.command()
def after_restore(
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this, only show what the database holds.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make the service safe after its database was restored from a backup, before it is started again.

    Every session ends and every access token from before is refused: nobody can know what was revoked after the backup.
    """
    from authmint_service.commands.after_restore import after_restore

    after_restore(data_dir=data_dir, confirmed=yes, as_json=as_json)


@app.command()
def settings(
    data_dir: Annotated[Path | None, typer.Option(help="The data folder of a development service that runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting in effect and where it comes from. Of a secret only whether it is set.

    They are those of the development service that runs, or, without one, those that serve would have.
    """
    from authmint_service.commands.settings import show_settings

    show_settings(data_dir=data_dir, as_json=as_json)


def unavailable_sentence(error: DatabaseUnavailable) -> str:
    """Return the sentence about a database that cannot be used, with a place for its own words."""
    # Without a URL the database is an embedded one, and there is nothing to check in a setting.
    if error.kind is Unavailability.UNREACHABLE and read_variables().find_secret("AUTHMINT_DATABASE_URL") is None:
        return EMBEDDED_UNREACHABLE
    return UNAVAILABLE[error.kind]


def _listen(host: str, port: int, count: int, setting: str = "PORT") -> list[socket.socket]:
    from authmint_service import serving

    try:
        return serving.listen(host, port, count)
    except OSError as error:
        fail(
            f"Port {port} on {host} cannot be used: {error.strerror or error}. Set AUTHMINT_{setting} to another.",
            ExitCode.FAILED,
        )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit. Every expected failure is one sentence on standard error and an exit code.

    `arguments`: those of the process if left out.
    """
    try:
        app(arguments)
    except (SettingsError, InvalidValue) as error:
        fail(str(error), ExitCode.USAGE)
    except AlreadyExists as error:
        fail(str(error), ExitCode.EXISTS)
    except DependencyError as error:
        fail(str(error), ExitCode.FAILED)
    except SchemaOutdated:
        fail("The database has not been migrated. Run: authmint-service migrate", ExitCode.FAILED)
    except MigrationFailed as error:
        fail(f"The migration failed, and nothing was changed: {error}", ExitCode.FAILED)
    except DatabaseUnavailable as error:
        fail(unavailable_sentence(error).format(error), ExitCode.DATABASE_UNAVAILABLE)
    except EmbeddedPostgresError as error:
        fail(str(error), ExitCode.DATABASE_UNAVAILABLE)
    except KeyboardInterrupt:
        fail("Stopped.", ExitCode.FAILED)
    sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
