"""Signing keys in the database. One at most is active, which the database itself holds to."""

import asyncio
from dataclasses import dataclass

import asyncpg

from mintmark.jose import SigningKey
from service.database import Connection, Database, moment
from service.secret_keys import SecretKeys
from service.signing_keys.encryption import decrypt, encrypt

LOCK = 0x7369676E696E676B  # any number will do, as long as it is always the same


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key, and whether it is the one that signs."""

    key: SigningKey
    is_active: bool


class SigningKeyStore:
    """Makes and loads signing keys."""

    def __init__(self, database: Database, secrets: SecretKeys) -> None:
        self._database, self._secrets = database, secrets

    _LOAD = """
        SELECT kid, algorithm, state, encrypted_key, encryption_key_id
          FROM signing_keys
         ORDER BY created_at DESC, kid
    """

    async def load(self) -> tuple[StoredKey, ...]:
        """All keys, the newest first. Raises KeyUnreadable, DatabaseUnavailable."""
        return tuple(map(self._read, await self._database.fetch_all(self._LOAD)))

    _ACTIVE_ALGORITHM = "SELECT algorithm FROM signing_keys WHERE state = 'active'"

    async def ensure_active(self, algorithm: str, now: float) -> None:
        """Sees to it that the active key is one for `algorithm`; the key before it stays published.

        Any number of processes may call this at once, on an empty table too: they agree on one key. `now`: seconds.
        """
        if await self._database.fetch_value(self._ACTIVE_ALGORITHM) == algorithm:
            return
        # Outside the transaction, and off the event loop: an RSA key takes a while.
        key = await asyncio.to_thread(SigningKey.generate, algorithm)
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            if await connection.fetchval(self._ACTIVE_ALGORITHM) != algorithm:
                await self._activate(connection, key, now)

    _RETIRE = "UPDATE signing_keys SET state = 'retired' WHERE state = 'active'"
    _INSERT = """
        INSERT INTO signing_keys (kid, algorithm, state, encrypted_key, encryption_key_id, created_at)
        VALUES ($1, $2, 'active', $3, $4, $5)
    """

    async def _activate(self, connection: Connection, key: SigningKey, now: float) -> None:
        secret_id = self._secrets.current_id
        encrypted = encrypt(self._secrets[secret_id], key.to_pem(), kid=key.kid, algorithm=key.algorithm)
        await connection.execute(self._RETIRE)
        await connection.execute(self._INSERT, key.kid, key.algorithm, encrypted, secret_id, moment(now))

    def _read(self, row: asyncpg.Record) -> StoredKey:
        kid, algorithm = row["kid"], row["algorithm"]
        pem = decrypt(self._secrets, row["encryption_key_id"], row["encrypted_key"], kid=kid, algorithm=algorithm)
        return StoredKey(SigningKey.from_pem(pem, algorithm), is_active=row["state"] == "active")
