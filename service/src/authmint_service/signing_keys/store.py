"""Signing keys in the database. Their changes, like all that processes cache, happen one after another (`change_feed`)."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from authmint.jose import SigningKey
from authmint_service.change_feed import ChangeKind, ChangeTransaction, change_transaction, repeat_if_undone
from authmint_service.database import Database, to_datetime
from authmint_service.errors import AlreadyExists, InvalidValue
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys.encryption import KeyDecryptionError, encrypt
from authmint_service.signing_keys.schedule import (
    ANNOUNCE_SECONDS,
    PUBLISHED,
    RotationPolicy,
    Schedule,
    State,
    due_changes,
    first_active_from,
    open_keys,
)
from authmint_service.signing_keys.stored_key import LoadedKeys, StoredKey, StoredKeyReader
from authmint_service.signing_keys.weak_keys import check_unrelated


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was changed in the lines."""

    created: Mapping[str, str]
    """The algorithm of each new key, by `kid`."""
    closed: Mapping[str, str]
    """The algorithm of each key that retires without a successor, by `kid`."""

    def __bool__(self) -> bool:
        return bool(self.created or self.closed)


class SigningKeyStore:
    """Loads, adds, revokes and encrypts signing keys."""

    def __init__(self, database: Database, secrets: SecretKeys) -> None:
        self._database, self._secrets = database, secrets
        self._reader = StoredKeyReader(secrets)

    # However many keys have come and gone, those that are published are among them.
    _LOAD = """
        SELECT kid, algorithm, encrypted_key, encryption_key_id, published_at, active_from, retired_at, withdrawn_at,
               revoked_at, (SELECT coalesce(max(n), 0) FROM authmint.changes) AS n
          FROM (SELECT kid, algorithm, encrypted_key, encryption_key_id,
                       published_at, active_from, retired_at, withdrawn_at, revoked_at
                  FROM authmint.signing_keys
                 ORDER BY encrypted_key IS NULL, published_at DESC
                 LIMIT 500) AS known ORDER BY published_at DESC, active_from DESC, kid
    """

    async def load(self) -> tuple[StoredKey, ...]:
        """Return the keys, the newest first; one that cannot be decrypted has a `problem`. Raise DatabaseUnavailable."""
        return (await self.load_with_version()).keys

    async def load_with_version(self) -> LoadedKeys:
        """Return the keys and the authorization version that the statement saw. Raise DatabaseUnavailable."""
        rows = await self._database.fetch_all(self._LOAD)
        return LoadedKeys(self._reader.read(rows), rows[0]["n"] if rows else 0)

    @repeat_if_undone
    async def rotate_if_due(self, policy: RotationPolicy, now: float, *, actor: Actor) -> Rotation:
        """Open, continue and close lines as far as it is due. Many processes may call this at once: one makes each key.

        `now`: seconds since the epoch, by the database's clock.
        """
        # Made before the transaction and in a thread: an RSA key can take a second.
        made = await generate_keys(due_changes(await self.load(), policy, now).opens, policy)
        created, closed = {}, {}
        async with self._locked() as (change, keys):
            due = due_changes(keys, policy, now)
            if due.opens.keys() <= made.keys():
                event = Event(kind=EventKind.SIGNING_KEY_CREATED, actor=actor)
                for algorithm, active_from in due.opens.items():
                    key = made[algorithm]
                    await self._append(change, key, Schedule(published_at=now, active_from=active_from), policy, event)
                    created[key.kid] = algorithm
                for algorithm, retired_at in due.closes.items():
                    closed[await self._close(change, algorithm, retired_at, policy, now, actor)] = algorithm
        return Rotation(created, closed)

    @repeat_if_undone
    async def announce(
        self, key: SigningKey, policy: RotationPolicy, now: float, *, actor: Actor,
        kind: EventKind = EventKind.SIGNING_KEY_IMPORTED,
    ) -> Schedule:  # fmt: skip
        """Add `key` as the next key of its line; the first key of all signs at once. Raise InvalidValue, AlreadyExists.

        `kind`: of the event, as the key comes from outside or was made here.
        """
        async with self._locked() as (change, keys):
            if key.kid in {known.kid for known in keys}:
                raise AlreadyExists("kid_taken", field="kid", kid=key.kid)
            check_unrelated(key.public_jwk(), {known.kid: jwk for known in keys if (jwk := known.public_jwk())})
            line = [known for known in keys if known.algorithm == key.algorithm]
            _check_none_is_next(line, now)
            active_from = now + ANNOUNCE_SECONDS if open_keys(line) else first_active_from(keys, now)
            schedule = Schedule(published_at=now, active_from=active_from)
            await self._append(change, key, schedule, policy, Event(kind=kind, actor=actor))
        return schedule

    async def announce_new(
        self, policy: RotationPolicy, now: float, *, actor: Actor, algorithm: str | None = None
    ) -> tuple[str, Schedule]:
        """Make a key and add it as the next one of a line. Raise InvalidValue if there is a next key already.

        `algorithm`: of the line; None for that of access tokens.
        """
        (key,) = (await generate_keys([algorithm or policy.algorithms[0]], policy)).values()
        return key.kid, await self.announce(key, policy, now, actor=actor, kind=EventKind.SIGNING_KEY_CREATED)

    @repeat_if_undone
    async def publish(
        self, keys: Iterable[SigningKey], policy: RotationPolicy, now: float, *, announce_seconds: float, actor: Actor
    ) -> float:
        """Add `keys` in an emergency: each signs soon, even if its line has a next key. Return when they were published."""
        created = Event(kind=EventKind.SIGNING_KEY_CREATED, actor=actor, details={"emergency": True})
        async with self._locked() as (change, known):
            published_at = max((now, *(key.schedule.published_at + 0.001 for key in known)))
            schedule = Schedule(published_at=published_at, active_from=published_at + announce_seconds)
            for key in keys:
                await self._append(change, key, schedule, policy, created)
        return published_at

    # Of two emergencies at the same time neither revokes the keys of the other that were published later.
    _REVOKE_OTHERS = """
        WITH revoked AS (UPDATE authmint.signing_keys SET revoked_at = $1, encrypted_key = NULL
                          WHERE revoked_at IS NULL AND (withdrawn_at IS NULL OR withdrawn_at > $1)
                            AND published_at <= $2 AND kid <> ALL ($3)
                         RETURNING kid),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $4, $5, $6, $7, $8, $9, $10::jsonb || jsonb_build_object('kid', kid), $11, $12, $13, $14
                         FROM revoked)
        SELECT kid FROM revoked
    """

    @repeat_if_undone
    async def revoke_others(self, kids: Iterable[str], *, published_at: float, now: float, actor: Actor) -> Sequence[str]:
        """Revoke all published keys but these and those published later. Return their `kid`s."""
        event = Event(kind=EventKind.SIGNING_KEY_REVOKED, actor=actor, details={"emergency": True})
        times = to_datetime(now), to_datetime(published_at)
        async with change_transaction(self._database) as change:
            rows = await change.connection.fetch(self._REVOKE_OTHERS, *times, list(kids), *event.values(now))
            revoked = [str(row["kid"]) for row in rows]
            await change.record(ChangeKind.SIGNING_KEY, *revoked, takes=True)
        return revoked

    _REVOKE = """
        WITH revoked AS (UPDATE authmint.signing_keys SET revoked_at = $2, encrypted_key = NULL WHERE kid = $1 RETURNING kid),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $3, $4, $5, $6, $7, $8, $9::jsonb || jsonb_build_object('kid', kid), $10, $11, $12, $13
                         FROM revoked)
        SELECT kid FROM revoked
    """
    # The last key of the same line, or of another line that was to end when this one began.
    _CLOSE_GAP = """
        UPDATE authmint.signing_keys AS last SET retired_at = NULL, withdrawn_at = NULL
         WHERE retired_at = $1 AND revoked_at IS NULL
           AND NOT EXISTS (SELECT FROM authmint.signing_keys AS open
                            WHERE open.algorithm = last.algorithm AND open.retired_at IS NULL AND open.revoked_at IS NULL)
    """

    @repeat_if_undone
    async def revoke(self, kid: str, now: float, *, actor: Actor) -> None:
        """Revoke a next or a retired key at once, and delete its private half. Raise InvalidValue."""
        async with self._locked() as (change, keys):
            found = next((key for key in keys if key.kid == kid), None)
            if found is None:
                raise InvalidValue("kid_unknown", field="kid", kid=kid)
            state = found.schedule.state(now)
            if state is State.ACTIVE:
                raise InvalidValue("kid_active", field="kid")
            if state not in PUBLISHED:
                raise InvalidValue("kid_not_published", field="kid", kid=kid, state=state)
            event = Event(kind=EventKind.SIGNING_KEY_REVOKED, actor=actor)
            await change.connection.execute(self._REVOKE, kid, to_datetime(now), *event.values(now))
            await change.record(ChangeKind.SIGNING_KEY, kid, takes=True)
            if state is State.NEXT:
                # The active key was planned to retire when this one becomes active.
                await change.connection.execute(self._CLOSE_GAP, to_datetime(found.schedule.active_from))

    _REENCRYPT = "UPDATE authmint.signing_keys SET encrypted_key = $2, encryption_key_id = $3 WHERE kid = $1"

    @repeat_if_undone
    async def reencrypt(self) -> tuple[int, Sequence[str]]:
        """Encrypt every key with the current encryption key. Return how many were encrypted, and the problems of the others."""
        current = self._secrets.current_id
        encrypted_again: list[str] = []
        problems = []
        async with self._locked() as (change, _):
            for row in await change.connection.fetch(self._LOAD):
                if row["encrypted_key"] is None or row["encryption_key_id"] == current:
                    continue
                try:
                    pem = self._reader.decrypt(row)
                except KeyDecryptionError as error:
                    problems.append(str(error))
                    continue
                encrypted = encrypt(self._secrets[current], pem, kid=row["kid"], algorithm=row["algorithm"])
                await change.connection.execute(self._REENCRYPT, row["kid"], encrypted, current)
                encrypted_again.append(row["kid"])
            await change.record(ChangeKind.SIGNING_KEY, *encrypted_again, takes=False)
        return len(encrypted_again), problems

    _ERASE = """
        UPDATE authmint.signing_keys SET encrypted_key = NULL
         WHERE withdrawn_at <= $1 AND encrypted_key IS NOT NULL
        RETURNING kid
    """

    @repeat_if_undone
    async def erase(self, now: float) -> None:
        """Delete the private halves of withdrawn keys: no token that they could sign would be accepted."""
        async with change_transaction(self._database) as change:
            erased = [row["kid"] for row in await change.connection.fetch(self._ERASE, to_datetime(now))]
            # It takes nothing from anybody: the key was not published any more.
            await change.record(ChangeKind.SIGNING_KEY, *erased, takes=False)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[tuple[ChangeTransaction, tuple[StoredKey, ...]]]:
        """Begin a transaction that changes keys. Yield it and the keys."""
        async with change_transaction(self._database) as change:
            yield change, self._reader.read(await change.connection.fetch(self._LOAD))

    _RETIRE = """
        UPDATE authmint.signing_keys SET retired_at = $2, withdrawn_at = $3
         WHERE algorithm = $1 AND (retired_at IS NULL OR retired_at > $2) AND revoked_at IS NULL
    """
    _INSERT = """
        WITH added AS (INSERT INTO authmint.signing_keys (kid, algorithm, encrypted_key, encryption_key_id, published_at,
                                                          active_from)
                       VALUES ($1, $2, $3, $4, $5, $6)
                       RETURNING kid, algorithm, active_from),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $7, $8, $9, $10, $11, $12,
                              $13::jsonb || jsonb_build_object('kid', kid, 'alg', algorithm, 'active_from', active_from),
                              $14, $15, $16, $17
                         FROM added)
        SELECT kid FROM added
    """

    async def _append(
        self, change: ChangeTransaction, key: SigningKey, schedule: Schedule, policy: RotationPolicy, event: Event
    ) -> None:
        active_from = schedule.active_from
        ends = to_datetime(active_from), to_datetime(active_from + policy.retention_seconds)
        await change.connection.execute(self._RETIRE, key.algorithm, *ends)
        secret_id = self._secrets.current_id
        encrypted = encrypt(self._secrets[secret_id], key.to_pem(), kid=key.kid, algorithm=key.algorithm)
        times = to_datetime(schedule.published_at), to_datetime(active_from)
        values = event.values(schedule.published_at)
        await change.connection.execute(self._INSERT, key.kid, key.algorithm, encrypted, secret_id, *times, *values)
        await change.record(ChangeKind.SIGNING_KEY, key.kid, takes=False)

    _CLOSE = """
        WITH closed AS (UPDATE authmint.signing_keys SET retired_at = $2, withdrawn_at = $3
                         WHERE algorithm = $1 AND retired_at IS NULL AND revoked_at IS NULL
                        RETURNING kid, algorithm, retired_at),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $4, $5, $6, $7, $8, $9,
                              $10::jsonb || jsonb_build_object('kid', kid, 'alg', algorithm, 'retired_at', retired_at),
                              $11, $12, $13, $14
                         FROM closed)
        SELECT kid FROM closed
    """

    async def _close(
        self, change: ChangeTransaction, algorithm: str, retired_at: float, policy: RotationPolicy, now: float, actor: Actor
    ) -> str:
        """Plan the end of a line. Return the `kid` of its last key."""
        event = Event(kind=EventKind.SIGNING_KEY_RETIRED, actor=actor)
        ends = to_datetime(retired_at), to_datetime(retired_at + policy.retention_seconds)
        kid = str(await change.connection.fetchval(self._CLOSE, algorithm, *ends, *event.values(now)))
        await change.record(ChangeKind.SIGNING_KEY, kid, takes=False)
        return kid


async def generate_keys(algorithms: Iterable[str], policy: RotationPolicy) -> dict[str, SigningKey]:
    """Return a new key for each algorithm. Made in a thread: an RSA key can take a second."""
    return {one: await asyncio.to_thread(SigningKey.generate, one, rsa_bits=policy.rsa_bits) for one in algorithms}


def _check_none_is_next(keys: Sequence[StoredKey], now: float) -> None:
    for key in keys:
        if key.schedule.state(now) is State.NEXT:
            begins = to_datetime(key.schedule.active_from).isoformat(timespec="seconds")
            raise InvalidValue("key_announced", field="key", kid=key.kid, active_from=begins)
