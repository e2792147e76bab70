"""Sends what other features have put into the outbox."""

from collections.abc import Sequence

from authmint_service.deliveries import DeliveryHandler, DeliveryStore, Outbox
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.tasks import Task

POLL_SECONDS = 1.0


def deliveries(kernel: Kernel, *, others: Sequence[Feature]) -> Feature:
    """`others`: the features whose kinds of deliveries are sent. Raise ValueError if two have a handler for one kind."""
    handlers: dict[str, DeliveryHandler] = {}
    for feature in others:
        if twice := handlers.keys() & feature.deliveries.keys():
            raise ValueError(f"two features send deliveries of one kind: {sorted(twice)}")
        handlers.update(feature.deliveries)
    outbox = Outbox(DeliveryStore(kernel.database), handlers, kernel.database_clock)
    # Without a kind there is nothing to ask the database for.
    tasks = (Task("send deliveries", POLL_SECONDS, outbox.deliver),) if handlers else ()
    return Feature(name="deliveries", tasks=tasks)
