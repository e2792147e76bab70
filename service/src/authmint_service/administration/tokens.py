"""Access tokens that were issued already."""

from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.database import Database
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

_RECORD = """
    INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details, personal, salt,
                                 personal_digest, occurred_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


async def revoke_all_tokens(database: Database, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
    """Refuse every access token that was made before. Sessions stay, and a refresh brings a new one.

    `now`: seconds since the epoch. Raise DatabaseUnavailable.
    """
    event = Event(kind=EventKind.TOKENS_REVOKED, actor=actor, source=source, details={"extent": "all"})
    await change_everything(database, event, now)


@repeat_if_undone
async def change_everything(database: Database, event: Event, now: float, name: str = "") -> None:
    """Record a change of everything, and the event. Its n is a time, so it is above that of every token made before.

    `name`: RESTORE if every session ends as well.
    """
    async with change_transaction(database) as change:
        await change.connection.execute(_RECORD, *event.values(now))
        await change.record(ChangeKind.ALL, name, takes=True)
