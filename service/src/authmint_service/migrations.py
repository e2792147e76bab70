"""Migrate the schema to the head, and compare its revision with the head. The migrations are in `alembic/versions/`.

Any number of processes may migrate at once: `alembic/env.py` makes them wait for each other inside the transaction.
alembic, and SQLAlchemy with it, is imported only by a process that migrates: it takes 27 MiB, and a server does not need it.
"""

import asyncio
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from authmint_service.database import Database
from authmint_service.database_errors import translate, words_of
from authmint_service.errors import MigrationFailed, SchemaOutdated

if TYPE_CHECKING:
    from alembic.config import Config

# Beside the package in a checkout, inside it in an installed wheel.
_SCRIPTS = next(
    folder
    for folder in (Path(__file__).parent / "_alembic", Path(__file__).resolve().parents[3] / "alembic")
    if (folder / "env.py").exists()
)


class Schema(Enum):
    """The schema of a database, compared with the one of this version."""

    BEHIND = "it lacks something that is needed"
    CURRENT = "it is the one of this version"
    AHEAD = "a newer version has migrated it; it only adds, so this version serves"


async def migrate(dsn: str) -> str | None:
    """Migrate the schema at `dsn` to the head unless it is newer, and return its revision.

    Raise DatabaseUnavailable, or MigrationFailed if the database refuses a statement.
    """
    from sqlalchemy.exc import DBAPIError

    from alembic import command

    config = alembic_config()
    config.attributes["dsn"] = dsn
    try:
        # alembic's commands expect a thread without an event loop; `env.py` starts one of its own there.
        await asyncio.to_thread(command.upgrade, config, "head")
    except DBAPIError as error:
        # SQLAlchemy's text has the whole statement.
        cause = (error.orig and error.orig.__cause__) or error
        raise _failure(cause) from cause
    except OSError as error:
        raise _failure(error) from error
    revision: str | None = config.attributes["revision"]
    return revision


async def migrate_if_behind(database: Database, dsn: str) -> None:
    """Migrate the schema only if it is behind, so that alembic is imported only then. Raise DatabaseUnavailable."""
    with suppress(SchemaOutdated):
        if compare(await current(database)) is not Schema.BEHIND:
            return
    await migrate(dsn)


@cache
def revisions() -> tuple[str, ...]:
    """Return all revisions that this version knows, the oldest first, from the names of the migrations' files."""
    return tuple(sorted(file.name.partition("_")[0] for file in (_SCRIPTS / "versions").glob("*_*.py")))


def head() -> str:
    """Return the revision of this version."""
    return revisions()[-1]


async def current(database: Database) -> str | None:
    """Return the revision of the schema. Raise DatabaseUnavailable, or SchemaOutdated if there is no schema yet."""
    revision: str | None = await database.fetch_value("SELECT version_num FROM authmint.alembic_version")
    return revision


def compare(revision: str | None) -> Schema:
    """Compare the revision of a schema with the one of this version."""
    if revision == head():
        return Schema.CURRENT
    return Schema.BEHIND if revision is None or revision in revisions() else Schema.AHEAD


def alembic_config() -> "Config":
    """Return the configuration for alembic's commands."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _failure(error: BaseException) -> Exception:
    return translate(error) or MigrationFailed(words_of(error))
