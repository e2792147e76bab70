"""What this table holds of an account, for its export."""

from authmint_service.exporter import Exporter

EXPORTERS = (
    Exporter(
        table="events",
        statement="""
            SELECT jsonb_build_object('id', id, 'kind', kind, 'occurred_at', occurred_at, 'actor_kind', actor_kind,
                                      'client_id', client_id, 'request_id', request_id, 'details', details,
                                      'personal', personal)
              FROM authmint.events WHERE subject = $1 ORDER BY id
        """,
        left_out={
            "actor_id": "It may be another person.",
            "once": "A keyed hash by which a failure is recorded once.",
            "personal_digest": "It is of the personal part, which is exported.",
            "salt": "It is of the digest.",
            "sealed_as": "It tells nothing about the person.",
            "subject": "The account's row has it.",
        },
    ),
)
