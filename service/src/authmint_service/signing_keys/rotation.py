"""Keeps a process's key ring in step with the database, and lets keys follow each other."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from authmint_service.signing_keys.ring import RotatingKeyRing
from authmint_service.signing_keys.schedule import Policy, State, due
from authmint_service.signing_keys.store import SigningKeyStore, StoredKey

log = structlog.get_logger(__name__)


class KeyRotation:
    """Loads the keys; makes the first one, and each next one when it is time."""

    def __init__(
        self, store: SigningKeyStore, ring: RotatingKeyRing, policy: Policy, *, ask_time: Callable[[], Awaitable[float]]
    ) -> None:
        """`ask_time`: what the database has, seconds since the epoch."""
        self._store, self._ring, self._policy, self._ask_time = store, ring, policy, ask_time
        self._told: frozenset[str] = frozenset()

    async def check(self) -> None:
        """Once. Raises DatabaseUnavailable, SchemaOutdated."""
        now = await self._ask_time()
        # First what is there: a database that takes no writes still has keys that sign.
        keys = await self._load()
        if due(keys, self._policy, now) is not None and (kid := await self._store.rotate_if_due(self._policy, now)):
            log.info("signing_key.created", kid=kid, alg=self._policy.algorithm)
            keys = await self._load()
        if any(key.signer is not None and key.schedule.state(now) is State.WITHDRAWN for key in keys):
            await self._store.erase(now)

    async def _load(self) -> Sequence[StoredKey]:
        keys = await self._store.load()
        self._tell(keys)
        self._ring.replace(keys)
        return keys

    def _tell(self, keys: Sequence[StoredKey]) -> None:
        problems = {key.kid: key.problem for key in keys if key.problem is not None}
        for kid in problems.keys() - self._told:
            log.error("signing_key.unusable", kid=kid, reason=problems[kid])
        self._told = frozenset(problems)
