"""What one process knows of the others: which keys they have, and so which of its own it uses for new values.

The reading comes with the heartbeat, and is used for what every request asks. A token with the id of an unknown key can be made
by anyone: it costs no question to the database while the reading is young.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial

import structlog

from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated, Unavailability
from authmint_service.processes.key_choice import choose_key
from authmint_service.processes.process import Fingerprints, Process, SecretKind, is_different
from authmint_service.processes.store import LIVE_SECONDS, LiveProcesses, ProcessStore
from authmint_service.secret_keys import SecretKeys

HEARTBEAT_SECONDS = 10.0
OFFERED_SECONDS = 15.0
"""How old the reading may be that says that no other process has a key. A heartbeat that is late is still in time."""
END_SECONDS = 1.0
"""How long a process that stops waits to delete its row."""

log = structlog.get_logger(__name__)


class ProcessesUnknown(DatabaseUnavailable):
    """It is not known which keys the other processes have, so nothing new is made."""

    def __init__(self) -> None:
        super().__init__("The other processes are not known yet.")


class Processes:
    """This process among the others."""

    def __init__(
        self,
        database: Database,
        keys: Mapping[SecretKind, SecretKeys],
        elapsed: Callable[[], float],
        *,
        version: str,
    ) -> None:
        """`keys`: as they are configured; `elapsed`: seconds by a clock that is never set back."""
        self._store, self._elapsed, self._version = ProcessStore(database), elapsed, version
        self._configured = keys
        self._read_at = float("-inf")
        self._fingerprints = {kind: own.fingerprints for kind, own in keys.items()}
        self._live = LiveProcesses((), {})
        self._chosen: dict[SecretKind, int] = {}
        self._logged: set[tuple[SecretKind, int]] = set()
        self._beating: asyncio.Task[None] | None = None
        self.has_write_failed = False
        """Whether the database failed at the last heartbeat, though it was reached: it is tried again each second."""

    @cached_property
    def process(self) -> Process:
        """This process. Made with the first use, as processes are forked after their application was made."""
        return Process(str(uuid.uuid4()), self._version, self._fingerprints)

    def keys(self, kind: SecretKind) -> SecretKeys:
        """Return the configured keys, whose current one is that which every live process has."""
        return self._configured[kind].choosing(partial(self.current_id, kind))

    def current_id(self, kind: SecretKind) -> int:
        """Return the id of the key for new values. Raise ProcessesUnknown.

        Others may take a process for dead that was paused for longer than its heartbeat counts: it has to ask first.
        """
        if self._elapsed() - self._read_at > LIVE_SECONDS:
            raise ProcessesUnknown
        return self._chosen[kind]

    def is_elsewhere(self, kind: SecretKind, key_id: int) -> bool:
        """Return whether this process lacks a key that another live process has, as far as is known.

        It lacks it as well if the same id stands for another key here.
        """
        others = [other.fingerprints[kind] for other in self._live.processes]
        if key_id in self._configured[kind]:
            return any(is_different(self._fingerprints[kind][key_id], other.get(key_id)) for other in others)
        return any(key_id in other for other in others)

    async def have(self, kind: SecretKind, key_id: int) -> bool:
        """Return the same, and ask the database first if the last reading is old. Raise DatabaseUnavailable."""
        if self._elapsed() - self._read_at > OFFERED_SECONDS:
            await self.beat()
        return self.is_elsewhere(kind, key_id)

    @property
    def is_known(self) -> bool:
        """Whether the other processes were read at least once."""
        return bool(self._chosen)

    @property
    def lacking_ids(self) -> list[int]:
        """The ids of the refresh-token keys in use that this process lacks, as far as is known."""
        return sorted(self._live.used.keys() - self._configured[SecretKind.REFRESH_TOKEN].keys())

    @property
    def different_ids(self) -> list[int]:
        """The ids of refresh-token keys in use that stand for another key in this process, as far as is known."""
        own = self._fingerprints[SecretKind.REFRESH_TOKEN]
        return sorted(key_id for key_id, used in self._live.used.items() if is_different(used, own.get(key_id)))

    async def ensure_known(self) -> None:
        """Ask the database once if the other processes are not known. Raise DatabaseUnavailable, SchemaOutdated."""
        if self._elapsed() - self._read_at > LIVE_SECONDS:
            await self.beat()

    async def beat(self) -> None:
        """Write the heartbeat and read the other processes, once for all who wait.

        Raise DatabaseUnavailable, SchemaOutdated.
        """
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="heartbeat")
            # All who wait may be cancelled before it fails.
            self._beating.add_done_callback(lambda beating: beating.cancelled() or beating.exception())
        await asyncio.shield(self._beating)

    async def leave(self) -> None:
        """Delete the row of this process, so that the others need not wait for the end of its heartbeat."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        with suppress(DatabaseUnavailable, SchemaOutdated, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._store.delete(self.process.id)

    async def _beat(self) -> None:
        asked_at = self._elapsed()
        # Two statements: of two processes that start at the same time, the one that writes last sees the other.
        try:
            await self._store.beat(self.process)
        except DatabaseUnavailable as error:
            self.has_write_failed = error.kind is Unavailability.FAILED
            raise
        self.has_write_failed = False
        live = await self._store.find_live()
        others = [other for other in live.processes if other.id != self.process.id]
        chosen = {
            kind: choose_key(
                _usable(keys, kind, live), [other.ids_agreed_with(keys, kind) for other in others], self._chosen.get(kind)
            )
            for kind, keys in self._fingerprints.items()
        }
        self._live, self._read_at = LiveProcesses(others, live.used), asked_at
        self._log_different()
        self._select(chosen)

    def _log_different(self) -> None:
        """Log each id that stands for another key in the database or in a live process, once."""
        found = {
            (kind, key_id) for kind, keys in self._fingerprints.items() for key_id in keys if self.is_elsewhere(kind, key_id)
        } | {(SecretKind.REFRESH_TOKEN, key_id) for key_id in self.different_ids}
        for kind, key_id in sorted(found - self._logged):
            log.error("secret_key.different", secret_kind=kind.value, key_id=key_id)
        self._logged = found

    def _select(self, chosen: dict[SecretKind, int]) -> None:
        before, self._chosen = self._chosen, chosen
        for kind, key_id in chosen.items():
            first = next(iter(self._configured[kind]))
            # A start with the first key is what everyone expects.
            if key_id != before.get(kind, first):
                log.info("secret_key.selected", secret_kind=kind.value, key_id=key_id, first_id=first)


def _usable(keys: Fingerprints, kind: SecretKind, live: LiveProcesses) -> Sequence[int]:
    """Return the ids for new values: without those under which sessions depend on another key, if there are others."""
    used = live.used if kind is SecretKind.REFRESH_TOKEN else {}
    return [key_id for key_id, own in keys.items() if not is_different(own, used.get(key_id))] or list(keys)
