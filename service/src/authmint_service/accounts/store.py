"""People in the database."""

from collections.abc import Sequence

import asyncpg

from authmint_service.accounts.account import User
from authmint_service.database import Database, to_datetime
from authmint_service.errors import AlreadyExists


class AccountStore:
    """Finds, adds and lists people, changes their passwords, disables and enables them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND_BY_NAME = "SELECT id, username, password_hash, enabled, credentials_version FROM users WHERE username = $1"

    async def find_by_name(self, username: str) -> User | None:
        """`username` as `prepare_username` makes it."""
        row = await self._database.fetch_row(self._FIND_BY_NAME, username)
        return None if row is None else _user(row)

    _FIND = "SELECT id, username, password_hash, enabled, credentials_version FROM users WHERE id = $1"

    async def find(self, account_id: str) -> User | None:
        row = await self._database.fetch_row(self._FIND, account_id)
        return None if row is None else _user(row)

    _INSERT = """
        INSERT INTO users (id, username, password_hash, enabled, created_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (username) DO NOTHING
        RETURNING id
    """

    async def add(self, user: User, now: float) -> None:
        """Raises AlreadyExists. `now`: seconds since the epoch."""
        values = (user.id, user.username, user.password_hash, user.enabled, to_datetime(now))
        if await self._database.fetch_value(self._INSERT, *values) is None:
            raise AlreadyExists(f"A user {user.username} exists already.")

    _LIST = "SELECT id, username, password_hash, enabled, credentials_version FROM users ORDER BY username"

    async def list(self) -> Sequence[User]:
        return [_user(row) for row in await self._database.fetch_all(self._LIST)]

    _REPLACE_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"

    async def replace_hash(self, user: User, new_hash: str) -> None:
        """A newer hash of the same password. A password that was changed meanwhile stays as it is."""
        await self._database.execute(self._REPLACE_HASH, user.id, user.password_hash, new_hash)

    _REPLACE = """
        UPDATE users SET password_hash = $3, credentials_version = credentials_version + 1
         WHERE id = $1 AND credentials_version = $2
        RETURNING id
    """
    _END_OTHER_SESSIONS = (
        "UPDATE sessions SET revoked_at = $3 WHERE account_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL"
    )

    async def change_password(self, user: User, new_hash: str, *, except_session_id: str | None, now: float) -> bool:
        """A new password, and no other live session than the one that is kept (None: none), once this returns.

        False, and nothing changed, when the password was changed since `user` was read.
        """
        async with self._database.transaction() as connection:
            # First the user: a session that is being started holds this row until it exists, and is then ended below.
            if await connection.fetchval(self._REPLACE, user.id, user.credentials_version, new_hash) is None:
                return False
            await connection.execute(self._END_OTHER_SESSIONS, user.id, except_session_id, to_datetime(now))
            return True

    _ENABLE = "UPDATE users SET enabled = true WHERE id = $1"

    async def enable(self, account_id: str) -> None:
        """They may sign in again. Sessions that were ended stay ended."""
        await self._database.execute(self._ENABLE, account_id)

    _DISABLE = "UPDATE users SET enabled = false, tokens_not_before = $2 WHERE id = $1"
    _END_SESSIONS = "UPDATE sessions SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL"

    async def disable(self, account_id: str, now: float) -> None:
        """No sign-in from now on, and no live session once this returns."""
        async with self._database.transaction() as connection:
            # First the user: a session that is being started holds this row until it exists, and is then ended below.
            await connection.execute(self._DISABLE, account_id, to_datetime(now))
            await connection.execute(self._END_SESSIONS, account_id, to_datetime(now))


def _user(row: asyncpg.Record) -> User:
    return User(
        id=str(row["id"]),
        username=row["username"],
        password_hash=row["password_hash"],
        enabled=row["enabled"],
        credentials_version=row["credentials_version"],
    )
