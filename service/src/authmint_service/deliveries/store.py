"""Deliveries in the database. A claim is a time in the row, not a lock: no transaction is open while a handler works."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from authmint_service.database import Database, to_datetime
from authmint_service.deliveries.delivery import Delivery

CLAIM_SECONDS = 60
"""When another process may take a delivery that was claimed and neither made nor given back: longer than a handler may work."""
MAX_ERROR_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery that was not made yet, for operators. Times are seconds since the epoch."""

    id: int
    kind: str
    target: str
    event: str
    due_at: float
    attempts: int
    dead_at: float | None
    last_error: str | None


class DeliveryStore:
    """Claims, completes, postpones, lists and retries deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Two processes never claim one row: the second skips what the first has locked, and then sees that it is not due.
    _CLAIM = """
        WITH due AS (SELECT id FROM authmint.deliveries
                      WHERE dead_at IS NULL AND due_at <= $1 AND kind = ANY($2::text[])
                      ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED),
             claimed AS (UPDATE authmint.deliveries AS d SET due_at = $4, attempts = d.attempts + 1
                           FROM due WHERE d.id = due.id
                         RETURNING d.id, d.event_id, d.kind, d.target, d.attempts)
        SELECT claimed.id, claimed.event_id, claimed.kind, claimed.target, claimed.attempts,
               e.kind AS event_kind, e.subject, e.client_id, e.details
          FROM claimed JOIN authmint.events AS e ON e.id = claimed.event_id
         ORDER BY claimed.id
    """

    async def claim(self, kinds: Collection[str], now: float, *, limit: int) -> Sequence[Delivery]:
        """Return deliveries that are due, for this process alone until CLAIM_SECONDS have passed. `now`: seconds."""
        values = to_datetime(now), list(kinds), limit, to_datetime(now + CLAIM_SECONDS)
        return [
            Delivery(
                id=row["id"], kind=row["kind"], target=row["target"], attempt=row["attempts"], event_id=row["event_id"],
                event_kind=row["event_kind"], subject=None if row["subject"] is None else str(row["subject"]),
                client_id=row["client_id"], details=json.loads(row["details"]),
            )
            for row in await self._database.fetch_all(self._CLAIM, *values)
        ]  # fmt: skip

    _COMPLETE = "DELETE FROM authmint.deliveries WHERE id = $1"

    async def complete(self, delivery: Delivery) -> None:
        """Delete a delivery that was made."""
        await self._database.execute(self._COMPLETE, delivery.id)

    # The number of attempts is the claim: what another process has claimed since is not touched.
    _POSTPONE = """
        UPDATE authmint.deliveries SET due_at = $3, dead_at = $4, last_error = $5
         WHERE id = $1 AND attempts = $2
    """

    async def postpone(self, delivery: Delivery, error: str, now: float, *, delay: float | None) -> None:
        """Record a failed attempt. `delay`: seconds until the next; None: there is none, and the delivery is dead."""
        due_at, dead_at = (now + delay, None) if delay is not None else (now, to_datetime(now))
        values = delivery.id, delivery.attempt, to_datetime(due_at), dead_at, error[:MAX_ERROR_LENGTH]
        await self._database.execute(self._POSTPONE, *values)

    _LIST = """
        SELECT d.id, d.kind, d.target, e.kind AS event, d.attempts, d.last_error,
               extract(epoch FROM d.due_at)::float8 AS due_at, extract(epoch FROM d.dead_at)::float8 AS dead_at
          FROM authmint.deliveries AS d JOIN authmint.events AS e ON e.id = d.event_id
         WHERE d.dead_at IS NOT NULL OR NOT $1
         ORDER BY d.id DESC LIMIT $2
    """

    async def list(self, *, only_dead: bool, limit: int) -> Sequence[StoredDelivery]:
        """Return the newest deliveries that were not made, the newest first."""
        return [StoredDelivery(**dict(row)) for row in await self._database.fetch_all(self._LIST, only_dead, limit)]

    _RETRY = """
        WITH retried AS (UPDATE authmint.deliveries SET due_at = $2, attempts = 0, dead_at = NULL
                          WHERE dead_at IS NOT NULL AND ($1::bigint[] IS NULL OR id = ANY($1::bigint[]))
                         RETURNING id)
        SELECT count(*) FROM retried
    """

    async def retry(self, ids: Collection[int] | None, now: float) -> int:
        """Let dead deliveries be tried again from `now` on, for another day; with None, all. Return how many."""
        chosen = None if ids is None else list(ids)
        return int(await self._database.fetch_value(self._RETRY, chosen, to_datetime(now)))
