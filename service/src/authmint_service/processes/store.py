"""Processes in the database, and the ids of the refresh-token keys that were used. Each method is one statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from authmint_service.database import Database, Record
from authmint_service.events import Event, EventKind
from authmint_service.processes.process import Fingerprints, Process, SecretKind, is_different
from authmint_service.request_source import Actor
from authmint_service.secret_keys import SecretKeys

LIVE_SECONDS = 30.0
"""A process whose last heartbeat is older has died. It may be paused: then it asks again before it makes anything new."""


@dataclass(frozen=True, slots=True)
class LiveProcesses:
    """What the database says of all processes at one time."""

    processes: Sequence[Process]
    used: Fingerprints
    """The refresh-token keys with which sessions began, and that were not dropped since."""

    def key_ids(self, kind: SecretKind) -> Sequence[Sequence[int]]:
        """Return the key ids of each process, without those that stand for different keys."""
        every = [process.fingerprints[kind] for process in self.processes]
        return [[key_id for key_id, own in keys.items() if not any(is_different(own, other.get(key_id)) for other in every)]
                for keys in every]  # fmt: skip


class ProcessStore:
    """Writes the row of a process, and reads those of all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _BEAT = """
        INSERT INTO authmint.processes (id, version, key_encryption_key_ids, refresh_token_key_ids,
                                        key_encryption_key_fingerprints, refresh_token_key_fingerprints,
                                        started_at, heartbeat_at)
        VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), clock_timestamp())
            ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
    """

    async def beat(self, process: Process) -> None:
        """Write that the process lives. Its row does not change while it runs, but for the time."""
        encryption, refresh = process.fingerprints[SecretKind.KEY_ENCRYPTION], process.fingerprints[SecretKind.REFRESH_TOKEN]
        ids, fingerprints = (list(encryption), list(refresh)), (list(encryption.values()), list(refresh.values()))
        await self._database.execute(self._BEAT, process.id, process.version, *ids, *fingerprints)

    # A heartbeat in the future was written before the clock was set back: it must not live until then.
    _FIND_LIVE = """
        SELECT p.id, p.version, p.key_encryption_key_ids, p.refresh_token_key_ids,
               p.key_encryption_key_fingerprints, p.refresh_token_key_fingerprints, used.ids, used.fingerprints
          FROM (SELECT coalesce(array_agg(id ORDER BY id), '{}') AS ids,
                       coalesce(array_agg(fingerprint ORDER BY id), '{}') AS fingerprints
                  FROM authmint.refresh_token_keys) AS used
          LEFT JOIN authmint.processes AS p
            ON p.heartbeat_at BETWEEN clock_timestamp() - $1 * interval '1 second'
                                  AND clock_timestamp() + $1 * interval '1 second'
         ORDER BY p.started_at, p.id
    """

    async def find_live(self) -> LiveProcesses:
        """Return the live processes, the oldest first, and the key ids in use."""
        rows = await self._database.fetch_all(self._FIND_LIVE, LIVE_SECONDS)
        used = _fingerprints(rows[0]["ids"], rows[0]["fingerprints"])
        return LiveProcesses([_read(row) for row in rows if row["id"] is not None], used)

    async def shared_keys(self, kind: SecretKind, keys: SecretKeys) -> SecretKeys | None:
        """Return `keys`, the current of which is the first that all live processes have; None if there is none.

        For commands, which are no processes that serve.
        """
        live = (await self.find_live()).processes
        processes = [process.ids_agreed_with(keys.fingerprints, kind) for process in live]
        shared = next((key_id for key_id in keys if all(key_id in ids for ids in processes)), None)
        return None if shared is None else keys.choosing(lambda: shared)

    _DROP = """
        WITH dropped AS (DELETE FROM authmint.refresh_token_keys WHERE id = $1 RETURNING id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM dropped)
        SELECT id FROM dropped
    """

    async def drop(self, key_id: int, now: float, *, actor: Actor) -> bool:
        """Forget that a refresh-token key was used. Return False if it was not in use. `now`: seconds since the epoch."""
        event = Event(kind=EventKind.REFRESH_TOKEN_KEY_DROPPED, actor=actor, details={"key_id": key_id})
        return await self._database.fetch_value(self._DROP, key_id, *event.values(now)) is not None

    _DELETE = "DELETE FROM authmint.processes WHERE id = $1"

    async def delete(self, process_id: str) -> None:
        """Delete the row of a process that has stopped."""
        await self._database.execute(self._DELETE, process_id)


def _read(row: Record) -> Process:
    keys = {
        SecretKind.REFRESH_TOKEN: _fingerprints(row["refresh_token_key_ids"], row["refresh_token_key_fingerprints"]),
        SecretKind.KEY_ENCRYPTION: _fingerprints(row["key_encryption_key_ids"], row["key_encryption_key_fingerprints"]),
    }
    return Process(str(row["id"]), row["version"], keys)


def _fingerprints(ids: Sequence[int], fingerprints: Sequence[bytes | None]) -> Fingerprints:
    return dict(zip(ids, fingerprints or [None] * len(ids), strict=True))
