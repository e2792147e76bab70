"""The loop that delivers: claims what is due, calls the handlers side by side, and writes what came of it."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from authmint_service.deliveries.delivery import MAX_ATTEMPTS, Delivery, DeliveryFailed, DeliveryHandler, delay_after
from authmint_service.deliveries.store import DeliveryStore
from authmint_service.logs import error_locations

BATCH = 20
HANDLER_SECONDS = 30.0
"""How long a handler may work. A claim lasts longer."""

log = structlog.get_logger(__name__)


class Outbox:
    """Delivers what is due."""

    def __init__(
        self,
        store: DeliveryStore,
        handlers: Mapping[str, DeliveryHandler],
        clock: Callable[[], float],
        *,
        handler_seconds: float = HANDLER_SECONDS,
    ) -> None:
        """`handlers`: by kind; a delivery of another kind stays. `clock`: seconds since the epoch, that all processes share."""
        self._store, self._handlers, self._clock, self._handler_seconds = store, dict(handlers), clock, handler_seconds

    async def deliver(self) -> None:
        """Deliver until nothing is due. Raise DatabaseUnavailable, SchemaOutdated."""
        if not self._handlers:
            return
        while claimed := await self._store.claim(self._handlers, self._clock(), limit=BATCH):
            done = await asyncio.gather(*map(self._attempt, claimed), return_exceptions=True)
            # Each of them has ended; what could not be written is tried again when its claim ends.
            for error in done:
                if error is not None:
                    raise error

    async def _attempt(self, delivery: Delivery) -> None:
        error = await self._try(delivery)
        if error is None:
            await self._store.complete(delivery)
            return
        delay = delay_after(delivery.attempt)
        fields = {"kind": delivery.kind, "delivery": delivery.id, "attempt": delivery.attempt, "reason": error}
        if delay is None:
            log.error("delivery.died", **fields)
        else:
            log.warning("delivery.failed", retry_seconds=delay, **fields)
        await self._store.postpone(delivery, error, self._clock(), delay=delay)

    async def _try(self, delivery: Delivery) -> str | None:
        """Call the handler. Return what went wrong, None if nothing did."""
        if delivery.attempt > MAX_ATTEMPTS:
            # Its last attempts ended neither well nor badly: the process was killed each time, maybe by this delivery.
            return "The process ended during the last attempt."
        try:
            async with asyncio.timeout(self._handler_seconds):
                await self._handlers[delivery.kind](delivery)
        except DeliveryFailed as error:
            return str(error)
        except TimeoutError:
            return f"The handler took longer than {self._handler_seconds:.0f} seconds."
        except Exception as error:
            log.error("error.unexpected", error_locations=error_locations(error))  # noqa: TRY400 - the text of an error may hold a secret
            return f"Unexpected error: {type(error).__name__}."
        return None
