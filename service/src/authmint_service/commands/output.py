"""How commands speak: tables for people, JSON for programs, one sentence for what went wrong."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from authmint_service import migrations
from authmint_service.database import Database, database_url
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

LONGEST_LINE, WIDEST = 4096, 4096


def echo(message: str) -> None:
    """One line for the person. Goes to standard output as it is: no markup, no wrapping."""
    sys.stdout.write(f"{message}\n")


def echo_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def echo_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """`rows` with the members named `columns`: a line each, or, on a terminal that is too narrow for it, a paragraph each."""
    if not rows:
        echo(empty)
        return
    names = [column.replace("_", " ") for column in columns]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    table = _table(names, cells)
    console = Console(markup=False, highlight=False)
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    if not console.is_terminal:
        # Whoever reads this by program, with grep for one, wants whole lines.
        console.width = width
    if width <= console.width:
        console.print(table)
        return
    for number, row in enumerate(cells):
        if number:
            console.print()
        console.print(_table(["", ""], zip(names, row, strict=True)))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Without names in the header, the first column has them."""
    table = Table(box=None, header_style="bold", show_header=any(header))
    for name in header:
        table.add_column(name, overflow="fold")
    table.columns[0].style = "" if any(header) else "bold"
    for row in rows:
        table.add_row(*row)
    return table


def fail(message: str, code: int) -> NoReturn:
    """Ends the program with a sentence on standard error."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def read_secret_line(name: str) -> str:
    """One line of standard input: a secret on the command line would be seen by everyone on the machine. Raises Invalid."""
    line = sys.stdin.readline(LONGEST_LINE).rstrip("\r\n")
    if not line:
        raise InvalidValue(f"Standard input is empty: it must hold the {name} on its first line.")
    return line


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database. A development one is migrated first, so that the order of the first commands does not matter."""
    database = Database(size=1, statement_cache=settings.database_statement_cache)
    async with database_url(settings) as dsn:
        if settings.uses_embedded_database or settings.is_development:
            await migrations.migrate(dsn)
        async with database.open(dsn):
            yield database


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
