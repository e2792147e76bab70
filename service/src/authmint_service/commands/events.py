"""`authmint-service events …`"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from authmint_service.accounts import AccountStore, prepare_username
from authmint_service.commands.accounts import find_account
from authmint_service.commands.output import AsJson, echo_json, echo_table, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.errors import InvalidValue
from authmint_service.events import EventKind, EventStore, RecordedEvent
from authmint_service.settings import Settings

app = typer.Typer(name="events", help="The audit: what was changed, by whom, from where.", no_args_is_help=True)

COLUMNS = ("time", "kind", "actor", "account", "client_id", "ip_address", "details")
DEFAULT_LIMIT, MAX_LIMIT = 100, 100_000


@app.command("list")
def list_events(
    account: Annotated[str | None, typer.Option(help="Only of this account: its username or its id.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as session.started.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only since this time in ISO 8601, such as 2026-01-31 or 2026-01-31T08:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="At most this many, the newest.")] = DEFAULT_LIMIT,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List what was recorded, the newest first. Times are in UTC."""
    _check_kind(kind)
    found = asyncio.run(_list(load_service_settings(data_dir), account, kind, _read_time(since), limit))
    if as_json:
        echo_json([_members(event) for event in found])
    else:
        echo_table(COLUMNS, [_row(event) for event in found], empty="No such event was recorded.")


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in set(EventKind):
        raise InvalidValue("kind_unknown", field="kind", known=", ".join(sorted(EventKind)))


def _read_time(text: str | None) -> float | None:
    """Return seconds since the epoch; a time without a zone is UTC. Raise InvalidValue."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        # In UTC the first and the last day of the calendar can be outside of it.
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidValue("since_invalid", field="since") from error


def _members(event: RecordedEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "time": _format(event.occurred_at),
        "kind": event.kind,
        "actor": {"kind": event.actor_kind, "id": event.actor_id},
        "account": event.subject,
        "client_id": event.client_id,
        "request_id": event.request_id,
        "details": event.details,
        "personal": event.personal,
    }


def _row(event: RecordedEvent) -> dict[str, object]:
    more = {name: value for name, value in event.personal.items() if name not in {"ip_address", "user_agent"}}
    return {
        "time": _format(event.occurred_at),
        "kind": event.kind,
        "actor": f"{event.actor_kind} {event.actor_id}",
        "account": event.subject,
        "client_id": event.client_id,
        "ip_address": event.personal.get("ip_address"),
        "details": _safe(" ".join(f"{name}={_text(value)}" for name, value in {**event.details, **more}.items())),
    }


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _safe(text: str) -> str:
    """Return the text without what a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _format(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


async def _list(
    settings: Settings, account: str | None, kind: str | None, since: float | None, limit: int
) -> Sequence[RecordedEvent]:
    async with open_database(settings) as database:
        account_id = None if account is None else await _account_id(AccountStore(database), account)
        return await EventStore(database).list(account_id=account_id, kind=kind, since=since, limit=limit)


async def _account_id(store: AccountStore, account: str) -> str:
    """Return the id. An account that was deleted has no username, but its events stay. Raise InvalidValue."""
    try:
        return str(UUID(account))
    except ValueError:
        return (await find_account(store, prepare_username(account))).id
