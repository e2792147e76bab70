"""The export of an account: what each table has of it, as values of JSON."""

import json
from collections.abc import Sequence
from typing import Any

from authmint_service import accounts, events, one_time_tokens, passwords, sessions
from authmint_service.database import Database
from authmint_service.exporter import Exporter

EXPORTERS: tuple[Exporter, ...] = (
    *accounts.EXPORTERS,
    *passwords.EXPORTERS,
    *sessions.EXPORTERS,
    *one_time_tokens.EXPORTERS,
    *events.EXPORTERS,
)

NOT_OF_ACCOUNTS = {"clients": "The subject of a service, which is no person."}
"""By table: why its `subject` or `account_id` is not that of an account."""


async def export_account(
    database: Database, account_id: str, exporters: Sequence[Exporter] = EXPORTERS
) -> dict[str, list[dict[str, Any]]]:
    """Return by table what is stored of an account, as values of JSON; times are RFC 3339. No secret is in it.

    An account that does not exist has no rows. Raise what the database raises.
    """
    return {
        exporter.table: [json.loads(row[0]) for row in await database.fetch_all(exporter.statement, account_id)]
        for exporter in exporters
    }
