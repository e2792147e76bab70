"""How commands speak: tables for people, JSON for programs, one sentence for what went wrong."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from service import migrations
from service.database import Database, database_url
from service.errors import Invalid
from service.settings import Settings

LONGEST_LINE = 4096


def say(message: str) -> None:
    """One line for the person. Goes to standard output as it is: no markup, no wrapping."""
    sys.stdout.write(f"{message}\n")


def say_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """`rows` with the members named `columns`."""
    if not rows:
        say(empty)
        return
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console(markup=False, highlight=False).print(table)


def fail(message: str, code: int) -> NoReturn:
    """Ends the program with a sentence on standard error."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def read_secret_line(name: str) -> str:
    """One line of standard input: a secret on the command line would be seen by everyone on the machine. Raises Invalid."""
    line = sys.stdin.readline(LONGEST_LINE).rstrip("\r\n")
    if not line:
        raise Invalid(f"Standard input is empty: it must hold the {name} on its first line.")
    return line


@asynccontextmanager
async def open_for_command(settings: Settings) -> AsyncIterator[Database]:
    """The database. A development one is migrated first, so that the order of the first commands does not matter."""
    database = Database(size=1, statement_cache=settings.database_statement_cache)
    async with database_url(settings) as dsn:
        if settings.uses_embedded_database or settings.is_development:
            await migrations.migrate(dsn)
        async with database.open(dsn):
            yield database


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
