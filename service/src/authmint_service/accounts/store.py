"""Accounts in the database."""

from collections.abc import Sequence

from authmint_service.accounts.account import Account, AccountState
from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.database import Database, Record, to_datetime
from authmint_service.errors import AlreadyExists
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource


class AccountStore:
    """Find, add, list, disable and enable accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # The one look-up by name. An address that is not verified finds no account, nor does a name that the account has given up.
    _FIND_BY_NAME = """
        SELECT a.id, username.prepared AS username, p.hash AS password_hash, a.state, a.disabled_reason, a.credentials_version
          FROM authmint.accounts AS a
          JOIN authmint.account_names AS name ON name.account_id = a.id
          JOIN authmint.account_names AS username
            ON username.account_id = a.id AND username.kind = 'username' AND username.is_primary
          LEFT JOIN authmint.passwords AS p ON p.account_id = a.id
         WHERE name.prepared = $1 AND (name.kind = 'username' OR name.verified_at IS NOT NULL) AND name.freed_at IS NULL
    """

    async def find_by_name(self, prepared: str) -> Account | None:
        """Return the account of a username or a verified address. `prepared`: as `prepare_username` returns it."""
        row = await self._database.fetch_row(self._FIND_BY_NAME, prepared)
        return None if row is None else _account(row)

    _FIND = """
        SELECT a.id, username.prepared AS username, p.hash AS password_hash, a.state, a.disabled_reason, a.credentials_version
          FROM authmint.accounts AS a
          JOIN authmint.account_names AS username
            ON username.account_id = a.id AND username.kind = 'username' AND username.is_primary
          LEFT JOIN authmint.passwords AS p ON p.account_id = a.id
         WHERE a.id = $1
    """

    async def find(self, account_id: str) -> Account | None:
        """Return the account with this id."""
        row = await self._database.fetch_row(self._FIND, account_id)
        return None if row is None else _account(row)

    # The name first: of any number that ask for one name at once, one gets it, and only that one makes an account.
    _INSERT = """
        WITH name AS (INSERT INTO authmint.account_names (prepared, account_id, kind, text, is_primary)
                      VALUES ($2, $1, 'username', $2, true)
                      ON CONFLICT (prepared) WHERE kind = 'username' OR verified_at IS NOT NULL DO NOTHING
                      RETURNING account_id),
             account AS (INSERT INTO authmint.accounts (id, state, disabled_reason, created_at)
                         SELECT account_id, $3, $4, $5 FROM name
                         RETURNING id),
             password AS (INSERT INTO authmint.passwords (account_id, hash, changed_at)
                          SELECT id, $6::text, $5 FROM account WHERE $6::text IS NOT NULL),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $7, $8, $9, coalesce(id, $10), $11, $12, $13, $14, $15, $16, $17 FROM account)
        SELECT id FROM account
    """

    async def add(self, account: Account, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
        """Add an account with its username and password. `now`: seconds since the epoch. Raise AlreadyExists."""
        personal = {"username": account.username}
        event = Event(kind=EventKind.ACCOUNT_CREATED, actor=actor, source=source, subject=account.id, personal=personal)
        values = account.id, account.username, account.state.value, account.disabled_reason, to_datetime(now)
        if await self._database.fetch_value(self._INSERT, *values, account.password_hash, *event.values(now)) is None:
            raise AlreadyExists("username_taken", field="username", username=account.username)

    _LIST = """
        SELECT a.id, username.prepared AS username, p.hash AS password_hash, a.state, a.disabled_reason, a.credentials_version
          FROM authmint.accounts AS a
          JOIN authmint.account_names AS username
            ON username.account_id = a.id AND username.kind = 'username' AND username.is_primary
          LEFT JOIN authmint.passwords AS p ON p.account_id = a.id
         WHERE username.prepared > $1
         ORDER BY username.prepared LIMIT $2
    """

    async def list(self, *, limit: int, after: str = "") -> Sequence[Account]:
        """Return at most `limit` accounts in the order of their usernames, those `after` a prepared one."""
        return [_account(row) for row in await self._database.fetch_all(self._LIST, after, limit)]

    _ENABLE = """
        WITH enabled AS (UPDATE authmint.accounts SET state = 'active', disabled_reason = NULL
                          WHERE id = $1 AND state = 'disabled'
                         RETURNING id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, coalesce(id, $5), $6, $7, $8, $9, $10, $11, $12 FROM enabled)
        SELECT id FROM enabled
    """

    @repeat_if_undone
    async def enable(self, account_id: str, now: float, *, actor: Actor, source: RequestSource | None = None) -> None:
        """Allow a disabled account to sign in again. Revoked sessions stay revoked. `now`: seconds since the epoch."""
        event = Event(kind=EventKind.ACCOUNT_ENABLED, actor=actor, source=source, subject=account_id)
        async with change_transaction(self._database) as change:
            if await change.connection.fetchval(self._ENABLE, account_id, *event.values(now)) is not None:
                await change.record(ChangeKind.ACCOUNT, account_id, takes=False)

    _DISABLE = """
        WITH disabled AS (UPDATE authmint.accounts SET state = 'disabled', disabled_reason = coalesce($2, disabled_reason)
                           WHERE id = $1 AND state <> 'deleted'
                          RETURNING id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $3, $4, $5, coalesce(id, $6), $7, $8, $9, $10, $11, $12, $13 FROM disabled)
        SELECT id FROM disabled
    """
    _REVOKE_SESSIONS = """
        UPDATE authmint.sessions SET revoked_at = $2, end_cause = 'account_disabled',
                                     covered_by = (SELECT max(n) FROM authmint.changes)
         WHERE account_id = $1 AND revoked_at IS NULL
    """

    @repeat_if_undone
    async def disable(
        self, account_id: str, now: float, *, actor: Actor, source: RequestSource | None = None, reason: str | None = None
    ) -> bool:
        """Disable an account. It cannot sign in, and has no live session once this returns. `now`: seconds since the epoch.

        The change makes its access tokens worthless. `reason`: None keeps the one that was given before. Return False if there
        is no such account, or no more.
        """
        personal = {"reason": reason}
        event = Event(kind=EventKind.ACCOUNT_DISABLED, actor=actor, source=source, subject=account_id, personal=personal)
        async with change_transaction(self._database) as change:
            # The account first: a sign-in locks this row until its session exists. The next statement then revokes it.
            values = account_id, reason, *event.values(now)
            if await change.connection.fetchval(self._DISABLE, *values) is None:
                return False
            await change.record(ChangeKind.ACCOUNT, account_id, takes=True)
            # The entry of the change covers them, so they need none of their own for long.
            await change.connection.execute(self._REVOKE_SESSIONS, account_id, to_datetime(now))
            return True


def _account(row: Record) -> Account:
    return Account(
        id=str(row["id"]),
        username=row["username"],
        password_hash=row["password_hash"],
        state=AccountState(row["state"]),
        disabled_reason=row["disabled_reason"],
        credentials_version=row["credentials_version"],
    )
