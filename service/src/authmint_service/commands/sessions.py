"""`authmint-service sessions …`"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from authmint_service.accounts import AccountStore, prepare_username
from authmint_service.commands.accounts import Username, find_account
from authmint_service.commands.operator import operator
from authmint_service.commands.output import DEFAULT_LIMIT, AsJson, Limit, cut, echo, echo_json, echo_table, open_database
from authmint_service.commands.service_settings import DataDir, load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.sessions import EndCause, SessionLifetimes, SessionStore, SessionSummary
from authmint_service.sessions import prune as prune_sessions
from authmint_service.settings import Settings

app = typer.Typer(name="sessions", help="Where people are signed in.", no_args_is_help=True)

COLUMNS = ("id", "client_id", "started_at", "last_used_at", "expires_at", "ip_address", "repeats_elsewhere")


@app.command("list")
def list_sessions(username: Username, limit: Limit = DEFAULT_LIMIT, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the live sessions of an account, the newest first. Their last use and their expiry are rounded to the hour."""
    name = prepare_username(username)
    found = cut(asyncio.run(_list(load_service_settings(data_dir), name, limit + 1)), limit, how="See --limit.")
    rows = [{column: _format(getattr(session, column)) for column in COLUMNS} for session in found]
    if as_json:
        echo_json(rows)
    else:
        echo_table(COLUMNS, rows, empty=f"{name} is not signed in.")


@app.command()
def revoke(
    username: Username,
    session_id: Annotated[UUID, typer.Argument(help="The session's id; see sessions list.")],
    data_dir: DataDir = None,
) -> None:
    """Revoke one session of an account. Its access tokens are accepted until they expire."""
    name = prepare_username(username)
    if not asyncio.run(_revoke(load_service_settings(data_dir), name, str(session_id))):
        raise InvalidValue("session_unknown", field="session_id", username=name, session_id=session_id)
    echo(f"Revoked the session {session_id} of {name}.")


@app.command()
def prune(data_dir: DataDir = None) -> None:
    """Delete sessions that expired or were revoked a day ago. The service does it by itself every hour."""
    deleted = asyncio.run(_prune(load_service_settings(data_dir)))
    echo(f"Deleted {deleted} session{'' if deleted == 1 else 's'}.")


def _format(value: object) -> object:
    """Return a time in ISO 8601, and any other value as it is."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") if isinstance(value, float) else value


def _limits(settings: Settings) -> SessionLifetimes:
    return SessionLifetimes(
        grace=settings.refresh_grace_seconds,
        idle=settings.session_idle_ttl,
        absolute=settings.session_ttl,
        access_token=settings.access_token_ttl,
    )


async def _list(settings: Settings, username: str, limit: int) -> Sequence[SessionSummary]:
    async with open_database(settings) as database:
        account = await find_account(AccountStore(database), username)
        return await SessionStore(database, _limits(settings)).list(account.id, await ask_time(database), limit=limit)


async def _revoke(settings: Settings, username: str, session_id: str) -> bool:
    async with open_database(settings) as database:
        account = await find_account(AccountStore(database), username)
        return await SessionStore(database, _limits(settings)).revoke(
            session_id, account.id, await ask_time(database), cause=EndCause.OPERATOR, actor=operator(), source=None
        )


async def _prune(settings: Settings) -> int:
    async with open_database(settings) as database:
        return await prune_sessions(SessionStore(database, _limits(settings)), await ask_time(database))
