"""Brings the schema to the head, and tells whether it is there. The migrations themselves are in `alembic/versions/`.

Any number of processes may migrate at once: `alembic/env.py` makes them wait for each other inside the transaction.
"""

import asyncio
from enum import Enum
from functools import cache
from pathlib import Path

import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from service.database import UNAVAILABLE, Database
from service.errors import DatabaseUnavailable

# Beside the package in a checkout, inside it in an installed wheel.
_SCRIPTS = next(
    folder
    for folder in (Path(__file__).parent / "_alembic", Path(__file__).parent.parent / "alembic")
    if (folder / "env.py").exists()
)


class Schema(Enum):
    """The schema of a database, as this version of the service sees it."""

    BEHIND = "it lacks something that is needed"
    CURRENT = "it is the one that was meant"
    AHEAD = "a newer version has migrated it; additions do not disturb, so it is served"


async def migrate(dsn: str) -> str | None:
    """Brings the schema at `dsn` to the head unless it is newer, and returns its revision. Raises DatabaseUnavailable."""
    config = _config()
    config.attributes["dsn"] = dsn
    try:
        # alembic's commands are made for a thread without an event loop; `env.py` makes one of its own there.
        await asyncio.to_thread(command.upgrade, config, "head")
    except UNAVAILABLE as error:
        raise DatabaseUnavailable(_reason(error)) from error
    revision: str | None = config.attributes["revision"]
    return revision


@cache
def head() -> str | None:
    """The revision that this version of the service works with."""
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def _revisions() -> frozenset[str]:
    """All that this version knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


async def current(database: Database) -> str | None:
    """The revision of the schema. Raises DatabaseUnavailable, or SchemaBehind when there is none yet."""
    revision: str | None = await database.fetch_value("SELECT version_num FROM alembic_version")
    return revision


def compare(revision: str | None) -> Schema:
    """What a schema of this revision is to this version."""
    if revision == head():
        return Schema.CURRENT
    return Schema.BEHIND if revision is None or revision in _revisions() else Schema.AHEAD


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, asyncpg.PostgresError | OSError) and str(error) else type(error).__name__
