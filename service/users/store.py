"""People in the database."""

from collections.abc import Sequence

import asyncpg

from service.database import Database, moment
from service.errors import AlreadyExists
from service.users.user import User


class UserStore:
    """Finds, adds and lists people, changes their passwords, disables and enables them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND_BY_NAME = "SELECT id, username, password_hash, enabled, password_version FROM users WHERE username = $1"

    async def find_by_name(self, username: str) -> User | None:
        """`username` as `prepare_username` makes it."""
        row = await self._database.fetch_row(self._FIND_BY_NAME, username)
        return None if row is None else _user(row)

    _FIND = "SELECT id, username, password_hash, enabled, password_version FROM users WHERE id = $1"

    async def find(self, user_id: str) -> User | None:
        row = await self._database.fetch_row(self._FIND, user_id)
        return None if row is None else _user(row)

    _INSERT = """
        INSERT INTO users (id, username, password_hash, enabled, created_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (username) DO NOTHING
        RETURNING id
    """

    async def add(self, user: User, now: float) -> None:
        """Raises AlreadyExists. `now`: seconds since the epoch."""
        values = (user.id, user.username, user.password_hash, user.enabled, moment(now))
        if await self._database.fetch_value(self._INSERT, *values) is None:
            raise AlreadyExists(f"A user {user.username} exists already.")

    _LIST = "SELECT id, username, password_hash, enabled, password_version FROM users ORDER BY username"

    async def list(self) -> Sequence[User]:
        return [_user(row) for row in await self._database.fetch_all(self._LIST)]

    _REPLACE_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"

    async def replace_hash(self, user: User, new_hash: str) -> None:
        """A newer hash of the same password. A password that was changed meanwhile stays as it is."""
        await self._database.execute(self._REPLACE_HASH, user.id, user.password_hash, new_hash)

    _REPLACE = """
        UPDATE users SET password_hash = $3, password_version = password_version + 1
         WHERE id = $1 AND password_version = $2
        RETURNING id
    """
    _END_OTHER_SESSIONS = (
        "UPDATE sessions SET revoked_at = $3 WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL"
    )

    async def change_password(self, user: User, new_hash: str, *, kept_session: str | None, now: float) -> bool:
        """A new password, and no other live session than the one that is kept (None: none), once this returns.

        False, and nothing changed, when the password was changed since `user` was read.
        """
        async with self._database.transaction() as connection:
            # First the user: a session that is being started holds this row until it exists, and is then ended below.
            if await connection.fetchval(self._REPLACE, user.id, user.password_version, new_hash) is None:
                return False
            await connection.execute(self._END_OTHER_SESSIONS, user.id, kept_session, moment(now))
            return True

    _ENABLE = "UPDATE users SET enabled = true WHERE id = $1"

    async def enable(self, user_id: str) -> None:
        """They may sign in again. Sessions that were ended stay ended."""
        await self._database.execute(self._ENABLE, user_id)

    _DISABLE = "UPDATE users SET enabled = false, tokens_not_before = $2 WHERE id = $1"
    _END_SESSIONS = "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL"

    async def disable(self, user_id: str, now: float) -> None:
        """No sign-in from now on, and no live session once this returns."""
        async with self._database.transaction() as connection:
            # First the user: a session that is being started holds this row until it exists, and is then ended below.
            await connection.execute(self._DISABLE, user_id, moment(now))
            await connection.execute(self._END_SESSIONS, user_id, moment(now))


def _user(row: asyncpg.Record) -> User:
    return User(
        id=str(row["id"]),
        username=row["username"],
        password_hash=row["password_hash"],
        enabled=row["enabled"],
        password_version=row["password_version"],
    )
