"""What is to be done after the database was restored from a backup.

Nobody can know which sessions were revoked after the backup was made, and which accounts, clients and keys. So every session
ends, and every access token is refused that was made before.
"""

from dataclasses import dataclass

from authmint_service.administration.tokens import change_everything
from authmint_service.change_feed import RESTORE
from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.one_time_tokens import delete_one_time_tokens
from authmint_service.request_source import Actor

BATCH = 5000
"""Sessions that one statement revokes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredState:
    """What a restored database holds. Times are seconds since the epoch; None if there is no such thing."""

    last_event_at: float | None
    """The last thing that it remembers: what happened later is lost."""
    accounts: int
    disabled_accounts: int
    last_password_change_at: float | None
    clients: int
    disabled_clients: int
    live_sessions: int
    last_key_revocation_at: float | None
    """A key that was revoked later is good again."""


# `now()`: the sessions that would be revoked are those that have not expired.
_READ = """
    SELECT (SELECT extract(epoch FROM max(occurred_at))::float8 FROM authmint.events) AS last_event_at,
           (SELECT count(*) FROM authmint.accounts WHERE state <> 'deleted') AS accounts,
           (SELECT count(*) FROM authmint.accounts WHERE state = 'disabled') AS disabled_accounts,
           (SELECT extract(epoch FROM max(changed_at))::float8 FROM authmint.passwords) AS last_password_change_at,
           (SELECT count(*) FROM authmint.clients WHERE deleted_at IS NULL) AS clients,
           (SELECT count(*) FROM authmint.clients WHERE NOT enabled AND deleted_at IS NULL) AS disabled_clients,
           (SELECT count(*) FROM authmint.sessions
             WHERE revoked_at IS NULL AND idle_expires_at > now() AND expires_at > now()) AS live_sessions,
           (SELECT extract(epoch FROM max(revoked_at))::float8 FROM authmint.signing_keys) AS last_key_revocation_at
"""


async def read_restored_state(database: Database) -> RestoredState:
    """Return what the database holds, so that an operator can tell what went back. Raise DatabaseUnavailable."""
    row = await database.fetch_row(_READ)
    assert row is not None, "it has one row"
    return RestoredState(**row)


_REVOKE_SESSIONS = """
    WITH walked AS (SELECT handle FROM authmint.sessions WHERE handle > $1 ORDER BY handle LIMIT $3),
         revoked AS (UPDATE authmint.sessions SET revoked_at = $2, end_cause = 'newer_than_database',
                                                  covered_by = (SELECT max(n) FROM authmint.changes)
                      WHERE handle IN (SELECT handle FROM walked) AND revoked_at IS NULL
                     RETURNING handle)
    SELECT (SELECT max(encode(handle, 'hex')) FROM walked) AS last, (SELECT count(*) FROM revoked) AS revoked
"""


async def finish_restore(database: Database, now: float, *, actor: Actor) -> int:
    """Refuse every token that was made before, revoke every session, delete links and codes. Return the number of sessions.

    To be called before a process issues tokens again. `now`: seconds since the epoch, by the database's clock. May be repeated
    if it fails half-way. Raise DatabaseUnavailable.
    """
    # Above every version that was handed out before, and that the database may have forgotten.
    await change_everything(database, Event(kind=EventKind.DATABASE_RESTORED, actor=actor), now, RESTORE)
    await delete_one_time_tokens(database)
    walked: bytes | None = b""
    count = 0
    while walked is not None:
        row = await database.fetch_row(_REVOKE_SESSIONS, walked, to_datetime(now), BATCH)
        assert row is not None, "it has one row"
        walked = None if row["last"] is None else bytes.fromhex(row["last"])
        count += row["revoked"]
    return count
