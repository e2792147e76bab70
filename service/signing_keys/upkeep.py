"""Keeps a process's key ring in step with the database, and waits for the database as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service.errors import DatabaseUnavailable, SchemaBehind
from service.signing_keys.encryption import KeyUnreadable
from service.signing_keys.ring import KeyRing
from service.signing_keys.store import SigningKeyStore

RETRY_SECONDS, RELOAD_SECONDS = 1.0, 30.0

log = structlog.get_logger("service.signing_keys")


class KeyUpkeep:
    """Loads the keys, makes the first one, and looks again every now and then."""

    def __init__(
        self,
        store: SigningKeyStore,
        ring: KeyRing,
        *,
        algorithm: str,
        clock: Callable[[], float],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`prepare`: what must succeed once before the database can be used (a migration)."""
        self._store, self._ring, self._algorithm, self._clock = store, ring, algorithm, clock
        self._prepare = prepare
        self.tried = asyncio.Event()
        """Set after the first attempt, whether it brought keys or not."""

    async def run(self) -> None:
        """Until it is cancelled."""
        said = ""
        while True:
            try:
                await self._once()
            except (DatabaseUnavailable, SchemaBehind, KeyUnreadable) as error:
                # Once for each new reason: a database that is away for an hour is not 3600 lines.
                if str(error) != said:
                    log.warning("signing keys not loaded yet, trying again", reason=str(error))
                said = str(error)
                self.tried.set()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if said:
                    log.info("signing keys loaded")
                said = ""
                self.tried.set()
                await asyncio.sleep(RELOAD_SECONDS)

    async def _once(self) -> None:
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None
        await self._store.ensure_active(self._algorithm, self._clock())
        self._ring.replace(await self._store.load())
