"""The deletion of an account: its row is deleted, and with it all that refers to it. What stays is a row without a person.

The row that stays keeps the id, so that it is never given again. The account is disabled first, so that its tokens are
worthless everywhere. Its names rest: until `retention` deletes them no one else can have them. The events stay, without their
personal part.
"""

from authmint_service.accounts import AccountStore
from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

NOT_CASCADED = {
    "events": "The audit stays. The deletion erases its personal part, and the salt by which that could be guessed."
}
"""By table: why a deleted account keeps its rows."""

# The lock orders this after each sign-in that is under way, whose session then goes with the account.
_LOCK = "SELECT created_at, credentials_version FROM authmint.accounts WHERE id = $1 AND state = 'disabled' FOR UPDATE"

# An address that was not verified belongs to no one, and does not rest.
_NAMES = """
    SELECT prepared, kind, verified_at FROM authmint.account_names
     WHERE account_id = $1 AND (kind = 'username' OR verified_at IS NOT NULL)
"""

# Each table that has ON DELETE CASCADE is emptied by this: no list of them can be incomplete.
_DELETE = """
    WITH deleted AS (DELETE FROM authmint.accounts WHERE id = $1 RETURNING id),
         event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                personal, salt, personal_digest, occurred_at)
                   SELECT $2, $3, $4, coalesce(id, $5), $6, $7, $8, $9, $10, $11, $12 FROM deleted)
    SELECT id FROM deleted
"""

_KEEP_ID = """
    INSERT INTO authmint.accounts (id, state, credentials_version, created_at, deleted_at)
    VALUES ($1, 'deleted', $2, $3, $4)
"""

_KEEP_NAME = """
    INSERT INTO authmint.account_names (account_id, prepared, kind, verified_at, text, freed_at) VALUES ($1, $2, $3, $4, '', $5)
"""

_ERASE = "UPDATE authmint.events SET personal = NULL, salt = NULL WHERE subject = $1 AND personal IS NOT NULL"


async def delete_account(
    database: Database, account_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
) -> bool:
    """Delete an account. None of its tokens, sessions or one-time values is valid once this returns.

    `now`: seconds since the epoch. Return False if there is no such account, or no more.
    """
    event = Event(kind=EventKind.ACCOUNT_DELETED, actor=actor, source=source, subject=account_id)
    # A change of its own: to delete much may take longer than others may wait.
    while await AccountStore(database).disable(account_id, now, actor=actor, source=source):
        if await _delete(database, account_id, event, now):
            return True
        # It was enabled in between.
    return False


async def _delete(database: Database, account_id: str, event: Event, now: float) -> bool:
    """Delete a disabled account. Return False if there is none."""
    async with database.transaction() as connection:
        account = await connection.fetchrow(_LOCK, account_id)
        if account is None:
            return False
        names = await connection.fetch(_NAMES, account_id)
        await connection.execute(_DELETE, account_id, *event.values(now))
        # A sign-in that read the credentials before starts no session: it compares the version.
        version = account["credentials_version"] + 1
        await connection.execute(_KEEP_ID, account_id, version, account["created_at"], to_datetime(now))
        resting = [(account_id, *name.values(), to_datetime(now)) for name in names]
        await connection.executemany(_KEEP_NAME, resting)
        await connection.execute(_ERASE, account_id)
    return True
