"""The one outbox: what is to be sent because of an event. Mails, logout tokens and webhooks are kinds of deliveries.

The statement that records an event also puts its deliveries into the outbox, so that none is lost and none is sent for what did
not happen. After the expression `event`, which ends with `RETURNING id`, comes one more; its values are the last parameters:

    delivery AS (INSERT INTO authmint.deliveries (event_id, kind, target, due_at)
                 SELECT event.id, $n, $n+1, $n+2 FROM event)

A feature registers a handler for each of its kinds (`Feature.deliveries`). A delivery is made at least once: a process that is
killed after the receiver got it, and before that was written, makes another process deliver it again.
"""

from authmint_service.deliveries.delivery import Delivery, DeliveryFailed, DeliveryHandler
from authmint_service.deliveries.outbox import Outbox
from authmint_service.deliveries.store import DeliveryStore, StoredDelivery

__all__ = ["Delivery", "DeliveryFailed", "DeliveryHandler", "DeliveryStore", "Outbox", "StoredDelivery"]
