"""`authmint-service after-restore`"""

import asyncio
from dataclasses import asdict
from pathlib import Path

from authmint_service.administration.restore import RestoredState, finish_restore, read_restored_state
from authmint_service.commands.operator import operator
from authmint_service.commands.output import echo, echo_json, format_time, open_database
from authmint_service.commands.service_settings import load_service_settings
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings

TIMES = ("last_event_at", "last_password_change_at", "last_key_revocation_at")


def after_restore(*, data_dir: Path | None, confirmed: bool, as_json: bool) -> None:
    """Show what a restored database holds; when confirmed, end every session and refuse every token from before.

    Raise InvalidValue if it was not confirmed.
    """
    state, revoked = asyncio.run(_run(load_service_settings(data_dir), confirmed=confirmed))
    if as_json:
        echo_json({**_row(state), "revoked_sessions": revoked})
    else:
        for line in _sentences(state):
            echo(line)
    if revoked is None:
        raise InvalidValue("restore_not_confirmed", field="yes", sessions=state.live_sessions)
    if not as_json:
        echo(f"Done: {revoked} sessions are revoked, and every token from before is refused within two seconds.")


async def _run(settings: Settings, *, confirmed: bool) -> tuple[RestoredState, int | None]:
    async with open_database(settings) as database:
        state = await read_restored_state(database)
        if not confirmed:
            return state, None
        return state, await finish_restore(database, await ask_time(database), actor=operator())


def _row(state: RestoredState) -> dict[str, object]:
    return {name: _format(value) if name in TIMES else value for name, value in asdict(state).items()}


def _sentences(state: RestoredState) -> list[str]:
    row = _row(state)
    return [
        f"The database remembers nothing after {row['last_event_at'] or 'its creation'}. What was changed later is as before:",
        f"- {state.disabled_accounts} of {state.accounts} accounts are disabled. One that was disabled later is active.",
        f"- Passwords: the newest is of {row['last_password_change_at'] or 'no time'}. One that was changed later is the old"
        " one.",
        f"- {state.disabled_clients} of {state.clients} clients are disabled. One that was disabled later may get tokens.",
        f"- Signing keys: the last revocation was at {row['last_key_revocation_at'] or 'no time'}. One that was revoked later"
        " signs again.",
    ]


def _format(value: float | None) -> str | None:
    return None if value is None else format_time(value)
