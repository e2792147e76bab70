"""Revocations in the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource


@dataclass(frozen=True, slots=True)
class RevokedEntries:
    """What has been revoked. Times are seconds since the epoch."""

    sessions: Mapping[str, float] = field(default_factory=dict)
    """When each session was revoked, by its id."""
    users: Mapping[str, float] = field(default_factory=dict)
    """By subject: tokens issued up to this time are revoked."""
    clients: Mapping[str, float] = field(default_factory=dict)
    """The same by client id."""
    everyone: float | None = None
    """The same for all tokens."""


class RevocationStore:
    """Reads what has been revoked, and revokes all tokens at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _SINCE = """
        SELECT 'session' AS kind, id::text AS name, extract(epoch FROM revoked_at)::float8 AS revoked_at
          FROM authmint.sessions WHERE revoked_at > $1
        UNION ALL
        SELECT 'account', id::text, extract(epoch FROM tokens_not_before)::float8
          FROM authmint.accounts WHERE tokens_not_before > $1
        UNION ALL
        SELECT 'client', client_id, extract(epoch FROM tokens_not_before)::float8
          FROM authmint.clients WHERE tokens_not_before > $1
        UNION ALL
        SELECT 'all', '', extract(epoch FROM tokens_not_before)::float8
          FROM authmint.all_tokens WHERE tokens_not_before > $1
    """

    async def find_since(self, since: float) -> RevokedEntries:
        """Return what was revoked after `since`, seconds since the epoch."""
        found: dict[str, dict[str, float]] = {"session": {}, "account": {}, "client": {}, "all": {}}
        for row in await self._database.fetch_all(self._SINCE, to_datetime(since)):
            found[row["kind"]][row["name"]] = row["revoked_at"]
        return RevokedEntries(found["session"], found["account"], found["client"], found["all"].get(""))

    _REVOKE_ALL = """
        WITH revoked AS (UPDATE authmint.all_tokens SET tokens_not_before = greatest(tokens_not_before, $1) RETURNING only_row),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM revoked)
        SELECT only_row FROM revoked
    """

    @repeat_if_undone
    async def raise_global_epoch(self, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
        """Revoke all access tokens issued up to `now`, seconds since the epoch. Sessions stay, and get new tokens."""
        event = Event(kind=EventKind.TOKENS_REVOKED, actor=actor, source=source, details={"extent": "all"})
        async with change_transaction(self._database) as change:
            await change.connection.execute(self._REVOKE_ALL, to_datetime(now), *event.values(now))
            await change.record(ChangeKind.ALL, "", takes=True)
