"""Keeps the key ring of a process up to date with the database, and makes the next key when it is due."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from authmint_service.request_source import Actor
from authmint_service.signing_keys.ring import RotatingKeyRing
from authmint_service.signing_keys.schedule import RotationPolicy, State, next_active_from
from authmint_service.signing_keys.store import SigningKeyStore, StoredKey

ROTATION = Actor(kind="system", id="signing key rotation")

log = structlog.get_logger(__name__)


class KeyRotation:
    """Loads the keys. Makes the first key, and each next one when it is due."""

    def __init__(
        self, store: SigningKeyStore, ring: RotatingKeyRing, policy: RotationPolicy, *, ask_time: Callable[[], Awaitable[float]]
    ) -> None:
        """`ask_time`: returns the database's time, seconds since the epoch."""
        self._store, self._ring, self._policy, self._ask_time = store, ring, policy, ask_time
        self._logged: frozenset[str] = frozenset()

    async def check(self) -> None:
        """Load the keys once, and make or erase keys if it is time. Raise DatabaseUnavailable, SchemaOutdated."""
        now = await self._ask_time()
        # Load before writing: a read-only database still has keys that sign.
        keys = await self._load()
        if next_active_from(keys, self._policy, now) is not None and (
            kid := await self._store.rotate_if_due(self._policy, now, actor=ROTATION)
        ):
            log.info("signing_key.created", kid=kid, alg=self._policy.algorithm)
            keys = await self._load()
        if any(key.signer is not None and key.schedule.state(now) is State.WITHDRAWN for key in keys):
            await self._store.erase(now)

    async def _load(self) -> Sequence[StoredKey]:
        keys = await self._store.load()
        self._log_problems(keys)
        self._ring.replace(keys)
        return keys

    def _log_problems(self, keys: Sequence[StoredKey]) -> None:
        problems = {key.kid: key.problem for key in keys if key.problem is not None}
        for kid in problems.keys() - self._logged:
            log.error("signing_key.unusable", kid=kid, reason=problems[kid])
        self._logged = frozenset(problems)
