"""Password hashes in the database."""

from dataclasses import dataclass, field
from typing import Protocol

from authmint_service.database import Database, to_datetime
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassword:
    """The password of an active account."""

    account_id: str
    username: str
    """For the policy: a new password must not be little more than this."""
    hash: str = field(repr=False)
    credentials_version: int


class KeptSession(Protocol):
    """The session that is not revoked: it has presented its refresh token, and gets a new handle."""

    @property
    def session_id(self) -> str: ...

    @property
    def handle(self) -> bytes: ...

    @property
    def generation(self) -> int: ...

    @property
    def new_handle(self) -> bytes: ...


class SessionChanged(Exception):
    """The session that was to be kept was refreshed or revoked meanwhile. Nothing was changed."""


class PasswordStore:
    """Find, rehash and change passwords."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND = """
        SELECT username.prepared AS username, p.hash, a.credentials_version
          FROM authmint.accounts AS a
          JOIN authmint.account_names AS username
            ON username.account_id = a.id AND username.kind = 'username' AND username.is_primary
          JOIN authmint.passwords AS p ON p.account_id = a.id
         WHERE a.id = $1 AND a.state = 'active'
    """

    async def find(self, account_id: str) -> StoredPassword | None:
        """Return the password of an account; None if there is none, or the account is not active."""
        row = await self._database.fetch_row(self._FIND, account_id)
        if row is None:
            return None
        return StoredPassword(
            account_id=account_id, username=row["username"], hash=row["hash"], credentials_version=row["credentials_version"]
        )

    _REPLACE_HASH = "UPDATE authmint.passwords SET hash = $3 WHERE account_id = $1 AND hash = $2"

    async def replace_hash(self, account_id: str, known_hash: str, new_hash: str) -> None:
        """Store a newer hash of the same password. If the password was changed meanwhile, nothing changes."""
        await self._database.execute(self._REPLACE_HASH, account_id, known_hash, new_hash)

    _CHANGE = """
        WITH account AS (UPDATE authmint.accounts SET credentials_version = credentials_version + 1
                          WHERE id = $1 AND credentials_version = $2
                         RETURNING id),
             password AS (INSERT INTO authmint.passwords (account_id, hash, changed_at)
                          SELECT id, $3, $4 FROM account
                              ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at
                          RETURNING account_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $5, $6, $7, coalesce(account_id, $8), $9, $10, $11, $12, $13, $14, $15 FROM password)
        SELECT account_id FROM password
    """
    _REVOKE_SESSIONS = """
        WITH kept AS (UPDATE authmint.sessions AS s SET handle = $6
                        FROM authmint.clients AS c
                       WHERE s.handle = $3 AND s.generation = $4 AND s.id = $5 AND s.account_id = $1
                         AND s.revoked_at IS NULL AND s.idle_expires_at > $2 AND s.expires_at > $2
                         AND c.client_id = s.client_id AND c.enabled
                      RETURNING s.id),
             revoked AS (UPDATE authmint.sessions SET revoked_at = $2, end_cause = 'password_changed'
                          WHERE account_id = $1 AND id IS DISTINCT FROM $5 AND revoked_at IS NULL)
        SELECT count(*) FROM kept
    """

    async def change(
        self, account_id: str, new_hash: str, *, credentials_version: int, kept: KeptSession | None, now: float,
        actor: Actor, source: RequestSource | None = None,
    ) -> bool:  # fmt: skip
        """Set a new password, and revoke all sessions of the account but `kept` (None: all).

        Raise SessionChanged, with nothing changed, if `kept` was refreshed or revoked meanwhile.
        Return False, with nothing changed, if the credentials were changed since `credentials_version` was read. `now`: seconds
        since the epoch.
        """
        event = Event(
            kind=EventKind.PASSWORD_CHANGED, actor=actor, source=source, subject=account_id, client_id=actor.client_id
        )
        async with self._database.transaction() as connection:
            # The account first: a sign-in locks this row until its session exists. The next statement then revokes it.
            values = account_id, credentials_version, new_hash, to_datetime(now)
            if await connection.fetchval(self._CHANGE, *values, *event.values(now)) is None:
                return False
            proof = (None,) * 4 if kept is None else (kept.handle, kept.generation, kept.session_id, kept.new_handle)
            is_kept = await connection.fetchval(self._REVOKE_SESSIONS, account_id, to_datetime(now), *proof)
            if kept is not None and not is_kept:
                raise SessionChanged
            return True
