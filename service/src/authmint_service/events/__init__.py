"""Audit events: what changed, who changed it, and where the request came from. A row is inserted and never updated.

The statement that makes a change also records it: its last common table expression inserts the event, and the values of
`Event.values` are its last parameters, in the order of the columns below. What the statement finds itself comes first:

    WITH revoked AS (UPDATE authmint.sessions SET … RETURNING id, account_id, client_id),
         event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                personal, salt, personal_digest, occurred_at)
                   SELECT $4, $5, $6, coalesce(account_id, $7), coalesce(client_id, $8), $9,
                          $10::jsonb || jsonb_build_object('sid', id), $11, $12, $13, $14 FROM revoked)
    SELECT id FROM revoked

So nothing changes without its event, and there is no event of what did not happen.
`tests/architecture/test_recorded_changes.py` finds a statement that has none.
"""

from authmint_service.events.event import Event, EventKind, personal_digest
from authmint_service.events.exporters import EXPORTERS
from authmint_service.events.failures import FailureRecorder
from authmint_service.events.store import EventStore, RecordedEvent

__all__ = ["EXPORTERS", "Event", "EventKind", "EventStore", "FailureRecorder", "RecordedEvent", "personal_digest"]
