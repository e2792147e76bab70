"""What commands print and read: tables for people, JSON for programs, one sentence and an exit code for a failure."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from authmint_service.database import Database

MAX_LINE_LENGTH, MAX_TABLE_WIDTH = 4096, 4096

Row = TypeVar("Row")
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")]
"""The option `--limit` of lists that may grow."""
DEFAULT_LIMIT = 1000
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The option `--json`, the same in every command that has it."""


class ExitCode(IntEnum):
    """What a command returns to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """Wrong usage, or a setting or value that is refused."""
    EXISTS = 3
    DATABASE_UNAVAILABLE = 4


def echo(message: str) -> None:
    """Print one line as it is: no markup, no wrapping."""
    sys.stdout.write(f"{message}\n")


def echo_json(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def echo_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """Print the members `columns` of `rows`: a line each, or, on a terminal that is too narrow, a paragraph each.

    `empty`: the sentence to print when there are no rows.
    """
    if not rows:
        echo(empty)
        return
    from rich.console import Console
    from rich.measure import Measurement

    names = [column.replace("_", " ") for column in columns]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    table = _table(names, cells)
    console = Console(markup=False, highlight=False)
    width = Measurement.get(console, console.options.update(max_width=MAX_TABLE_WIDTH), table).maximum
    if not console.is_terminal:
        # A program that reads this, such as grep, needs whole lines.
        console.width = width
    if width <= console.width:
        console.print(table)
        return
    for number, row in enumerate(cells):
        if number:
            console.print()
        console.print(_table(["", ""], zip(names, row, strict=True)))


def echo_record(record: Mapping[str, Any]) -> None:
    """Print the members of one thing, a line each."""
    from rich.console import Console

    Console(markup=False, highlight=False, width=MAX_TABLE_WIDTH).print(
        _table(["", ""], [(name.replace("_", " "), _cell(value)) for name, value in record.items()])
    )


def format_time(seconds: float) -> str:
    """Return a time as ISO 8601, to the second. `seconds`: since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def cut(rows: Sequence[Row], limit: int, *, how: str) -> Sequence[Row]:
    """Return at most `limit` rows. If there are more, say so on standard error, which no program reads as rows, and `how`."""
    if len(rows) > limit:
        sys.stderr.write(f"Only {limit} are listed, and there are more. {how}\n")
    return rows[:limit]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """Return a table. If the header has no names, the first column is printed like one."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", show_header=any(header))
    for name in header:
        table.add_column(name, overflow="fold")
    table.columns[0].style = "" if any(header) else "bold"
    for row in rows:
        table.add_row(*row)
    return table


def fail(message: str, code: ExitCode) -> NoReturn:
    """Print a sentence on standard error, and exit."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def read_secret_line(name: str) -> str:
    """Return one line of standard input; an argument would be visible to all users of the computer. Raise InvalidValue.

    `name`: of the secret, for the error.
    """
    line = sys.stdin.readline(MAX_LINE_LENGTH).rstrip("\r\n")
    if not line:
        raise InvalidValue("stdin_missing", field=name, name=name)
    return line


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator["Database"]:
    """Open the database, which must exist: no command creates one. In development an older schema is migrated first.

    Raise SchemaOutdated if there is no schema.
    """
    from authmint_service import migrations
    from authmint_service.database import Database, database_url

    database = Database(size=1, statement_cache=settings.statement_cache_size)
    async with database_url(settings, create=False) as dsn, database.open(dsn):
        if settings.is_development and migrations.compare(await migrations.current(database)) is migrations.Schema.BEHIND:
            await migrations.migrate(dsn)
        yield database


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
