"""`authmint-service deliveries …`"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from authmint_service.commands.output import AsJson, echo, echo_json, echo_table, format_time, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.deliveries import DeliveryStore, StoredDelivery
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

app = typer.Typer(name="deliveries", help="What is to be sent because of an event.", no_args_is_help=True)

MAX_ID = 2**63 - 1
COLUMNS = ("id", "kind", "target", "event", "attempts", "due_at", "dead_at", "last_error")


@app.command("list")
def list_deliveries(
    dead: Annotated[bool, typer.Option("--dead", help="Only those that are tried no more.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many, the newest.")] = 100,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List what was not delivered yet, the newest first. What was delivered is not listed."""
    rows = [_row(delivery) for delivery in asyncio.run(_list(load_service_settings(data_dir), only_dead=dead, limit=limit))]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty="No delivery is dead." if dead else "Nothing waits to be sent.")


@app.command()
def retry(
    ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=MAX_ID, help="The ids of dead deliveries; see deliveries list --dead.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead deliveries.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Try dead deliveries again, now and for another day."""
    if bool(ids) == every:
        raise InvalidValue("ids_missing", field="ids")
    count = asyncio.run(_retry(load_service_settings(data_dir), ids if not every else None))
    if as_json:
        echo_json({"retried": count})
        return
    if ids and count < len(set(ids)):
        raise InvalidValue("ids_unknown", field="ids", count=count, given=len(set(ids)))
    echo(f"{count} {'delivery is' if count == 1 else 'deliveries are'} tried again.")


def _row(delivery: StoredDelivery) -> dict[str, Any]:
    return asdict(delivery) | {"due_at": _format(delivery.due_at), "dead_at": _format(delivery.dead_at)}


def _format(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


async def _list(settings: Settings, *, only_dead: bool, limit: int) -> Sequence[StoredDelivery]:
    async with open_database(settings) as database:
        return await DeliveryStore(database).list(only_dead=only_dead, limit=limit)


async def _retry(settings: Settings, ids: list[int] | None) -> int:
    async with open_database(settings) as database:
        return await DeliveryStore(database).retry(ids, await ask_time(database))
