"""Keeps the key ring of a process up to date with the database, and makes the next key when it is due."""

from collections.abc import Callable, Sequence

import structlog

from authmint_service.change_feed import ChangeFeed, ChangeKind
from authmint_service.request_source import Actor
from authmint_service.signing_keys.ring import RotatingKeyRing
from authmint_service.signing_keys.schedule import RotationPolicy, State, due_changes
from authmint_service.signing_keys.store import SigningKeyStore
from authmint_service.signing_keys.stored_key import StoredKey

ROTATION = Actor(kind="system", id="signing key rotation")

log = structlog.get_logger(__name__)


class KeyRotation:
    """Loads the keys when one was changed. Makes the first key of each line, and each next one when it is due."""

    def __init__(
        self,
        store: SigningKeyStore,
        ring: RotatingKeyRing,
        policy: RotationPolicy,
        feed: ChangeFeed,
        clock: Callable[[], float],
    ) -> None:
        """`clock`: seconds since the epoch, by the database's clock."""
        self._store, self._ring, self._policy, self._feed, self._clock = store, ring, policy, feed, clock
        self._n: int | None = None
        self._logged: frozenset[str] = frozenset()

    async def check(self) -> None:
        """Load the keys if one was changed, and make or erase keys if it is time. Raise DatabaseUnavailable, SchemaOutdated."""
        # The first key is made by the database's clock, which comes with the changes.
        if self._feed.n is None:
            await self._feed.read()
        # Load before writing: a read-only database still has keys that sign.
        if self._n is None or not self._feed.is_kind_current(ChangeKind.SIGNING_KEY, self._n):
            await self._load()
        now = self._clock()
        if due_changes(self._ring.keys, self._policy, now) and (
            rotation := await self._store.rotate_if_due(self._policy, now, actor=ROTATION)
        ):
            for kid, algorithm in rotation.created.items():
                log.info("signing_key.created", kid=kid, alg=algorithm)
            for kid, algorithm in rotation.closed.items():
                log.info("signing_key.retired", kid=kid, alg=algorithm)
            await self._load()
        if any(key.signer is not None and key.schedule.state(now) is State.WITHDRAWN for key in self._ring.keys):
            await self._store.erase(now)
            await self._load()

    async def _load(self) -> None:
        loaded = await self._store.load_with_version()
        self._log_problems(loaded.keys)
        self._ring.replace(loaded.keys)
        self._n = loaded.n
        self._feed.observe(loaded.n)

    def _log_problems(self, keys: Sequence[StoredKey]) -> None:
        problems = {key.kid: key.problem for key in keys if key.problem is not None}
        for kid in problems.keys() - self._logged:
            log.error("signing_key.unusable", kid=kid, reason=problems[kid])
        self._logged = frozenset(problems)
