"""Reads the audit events, for operators."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authmint_service.database import Database, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event that was recorded."""

    id: int
    occurred_at: float
    """Seconds since the epoch."""
    kind: str
    actor_kind: str
    actor_id: str | None
    subject: str | None
    client_id: str | None
    request_id: str | None
    details: Mapping[str, object]
    personal: Mapping[str, object]
    """Empty if it was erased, or there was none."""


class EventStore:
    """Lists events. Stores of other packages record them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _LIST = """
        SELECT id, extract(epoch FROM occurred_at)::float8 AS occurred_at, kind, actor_kind, actor_id, subject::text AS subject,
               client_id, request_id, details, personal
          FROM authmint.events
         WHERE ($1::uuid IS NULL OR subject = $1) AND ($2::text IS NULL OR kind = $2)
           AND ($3::timestamptz IS NULL OR occurred_at >= $3)
         ORDER BY id DESC LIMIT $4
    """

    async def list(
        self, *, account_id: str | None = None, kind: str | None = None, since: float | None = None, limit: int
    ) -> Sequence[RecordedEvent]:
        """Return the newest events, the newest first: of an account, of a kind, since a time (seconds since the epoch)."""
        values = account_id, kind, None if since is None else to_datetime(since), limit
        return [
            RecordedEvent(
                **{**row, "details": json.loads(row["details"]), "personal": json.loads(row["personal"] or "{}")},
            )
            for row in await self._database.fetch_all(self._LIST, *values)
        ]
