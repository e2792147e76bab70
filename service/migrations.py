"""Brings the schema to the head, and tells whether it is there. The migrations themselves are in `alembic/versions/`.

Any number of processes may migrate at once: `alembic/env.py` makes them wait for each other inside the transaction.
"""

import asyncio
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


async def migrate(dsn: str) -> None:
    """Brings the schema at `dsn` to the head. Raises DatabaseUnavailable."""
    config = _config()
    config.attributes["dsn"] = dsn
    try:
        # alembic's commands are made for a thread without an event loop; `env.py` makes one of its own there.
        await asyncio.to_thread(command.upgrade, config, "head")
    except UNAVAILABLE as error:
        raise DatabaseUnavailable(_reason(error)) from error


def head() -> str | None:
    """The revision that this version of the service works with."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def current(database: Database) -> str | None:
    """The revision of the schema. Raises DatabaseUnavailable, or SchemaBehind when there is none yet."""
    revision: str | None = await database.fetch_value("SELECT version_num FROM alembic_version")
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, asyncpg.PostgresError | OSError) and str(error) else type(error).__name__
