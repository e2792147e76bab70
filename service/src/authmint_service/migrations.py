"""Brings the schema to the head, and tells whether it is there. The migrations themselves are in `alembic/versions/`.

Any number of processes may migrate at once: `alembic/env.py` makes them wait for each other inside the transaction.
alembic, and SQLAlchemy with it, is imported by whoever migrates, and by nobody else: it takes 27 MiB, and a process that serves
has no use for it.
"""

import asyncio
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from authmint_service.database import UNAVAILABLE, Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

if TYPE_CHECKING:
    from alembic.config import Config

# Beside the package in a checkout, inside it in an installed wheel.
_SCRIPTS = next(
    folder
    for folder in (Path(__file__).parent / "_alembic", Path(__file__).resolve().parents[3] / "alembic")
    if (folder / "env.py").exists()
)


class Schema(Enum):
    """The schema of a database, as this version of the service sees it."""

    BEHIND = "it lacks something that is needed"
    CURRENT = "it is the one that was meant"
    AHEAD = "a newer version has migrated it; additions do not disturb, so it is served"


async def migrate(dsn: str) -> str | None:
    """Brings the schema at `dsn` to the head unless it is newer, and returns its revision. Raises DatabaseUnavailable."""
    from alembic import command

    config = alembic_config()
    config.attributes["dsn"] = dsn
    try:
        # alembic's commands are made for a thread without an event loop; `env.py` makes one of its own there.
        await asyncio.to_thread(command.upgrade, config, "head")
    except UNAVAILABLE as error:
        raise DatabaseUnavailable(_reason(error)) from error
    revision: str | None = config.attributes["revision"]
    return revision


async def migrate_if_behind(database: Database, dsn: str) -> None:
    """Looks first, and imports what migrates only when there is something to do. Raises DatabaseUnavailable."""
    with suppress(SchemaOutdated):
        if compare(await current(database)) is not Schema.BEHIND:
            return
    await migrate(dsn)


@cache
def revisions() -> tuple[str, ...]:
    """All that this version knows, oldest first, as the files of the migrations are named."""
    return tuple(sorted(file.name.partition("_")[0] for file in (_SCRIPTS / "versions").glob("*_*.py")))


def head() -> str:
    """The revision that this version of the service works with."""
    return revisions()[-1]


async def current(database: Database) -> str | None:
    """The revision of the schema. Raises DatabaseUnavailable, or SchemaOutdated when there is none yet."""
    revision: str | None = await database.fetch_value("SELECT version_num FROM authmint.alembic_version")
    return revision


def compare(revision: str | None) -> Schema:
    """What a schema of this revision is to this version."""
    if revision == head():
        return Schema.CURRENT
    return Schema.BEHIND if revision is None or revision in revisions() else Schema.AHEAD


def alembic_config() -> "Config":
    """What alembic's commands want to know."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, asyncpg.PostgresError | OSError) and str(error) else type(error).__name__
