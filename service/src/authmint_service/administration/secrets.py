"""What depends on which secret key, and the end of a refresh-token key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authmint_service.database import Database
from authmint_service.errors import InvalidValue
from authmint_service.one_time_tokens import count_by_key
from authmint_service.processes import LiveProcesses, ProcessStore, SecretKind, is_current_anywhere, is_different
from authmint_service.request_source import Actor
from authmint_service.sessions import SessionKeyUsage
from authmint_service.signing_keys import count_by_encryption_key


@dataclass(frozen=True, slots=True)
class SecretUsage:
    """The live processes, and what depends on which key."""

    live: LiveProcesses
    sessions: Mapping[int | None, int]
    """Live ones, by the id of the refresh-token key; None for those that do not say it yet."""
    one_time_tokens: Mapping[int, int]
    """Links and codes, by the id of the refresh-token key."""
    signing_keys: Mapping[int, int]
    """By the id of the key-encryption key."""

    def key_ids(self, kind: SecretKind) -> Sequence[Sequence[int]]:
        """Return the key ids of each live process, without those that stand for different keys."""
        return self.live.key_ids(kind)

    def having(self, kind: SecretKind, key_id: int) -> Sequence[str]:
        """Return the ids of the live processes with the key on which sessions depend, or else that of the oldest process."""
        every = {process.id: process.fingerprints[kind] for process in self.live.processes}
        having = {process_id: keys[key_id] for process_id, keys in every.items() if key_id in keys}
        used = self.live.used.get(key_id) if kind is SecretKind.REFRESH_TOKEN else None
        expected = used or next(iter(having.values()), None)
        return [process_id for process_id, own in having.items() if not is_different(own, expected)]


async def read_secret_usage(database: Database, now: float) -> SecretUsage:
    """Return what depends on which key. `now`: seconds since the epoch, by the database's clock. Raise DatabaseUnavailable."""
    return SecretUsage(
        live=await ProcessStore(database).find_live(),
        sessions=await SessionKeyUsage(database).count(now),
        one_time_tokens=await count_by_key(database, now),
        signing_keys=await count_by_encryption_key(database),
    )


async def drop_refresh_token_key(database: Database, key_id: int, now: float, *, actor: Actor, force: bool) -> int:
    """Drop a key, so that a process without it is ready. Return how many sessions that revoked. Raise InvalidValue.

    `now`: seconds since the epoch, by the database's clock; `force`: revoke the sessions that depend on the key. May be
    repeated if it fails half-way.
    """
    usage = await read_secret_usage(database, now)
    # Not with `force` either: the next sign-in would use it again. If no live process has that very key, it uses another one.
    is_offered = bool(usage.having(SecretKind.REFRESH_TOKEN, key_id))
    if is_offered and is_current_anywhere(key_id, usage.key_ids(SecretKind.REFRESH_TOKEN)):
        raise InvalidValue("key_id_current", field="key_id", key_id=key_id)
    sessions, unknown = usage.sessions.get(key_id, 0), usage.sessions.get(None, 0)
    one_time_tokens = usage.one_time_tokens.get(key_id, 0)
    if not force and (sessions or unknown or one_time_tokens):
        raise InvalidValue(
            "key_id_in_use", field="key_id", key_id=key_id, sessions=sessions, unknown=unknown, one_time_tokens=one_time_tokens
        )
    revoked = await SessionKeyUsage(database).revoke(key_id, now, actor=actor) if force else 0
    if not await ProcessStore(database).drop(key_id, now, actor=actor) and not revoked:
        raise InvalidValue("key_id_unknown", field="key_id", key_id=key_id)
    return revoked
