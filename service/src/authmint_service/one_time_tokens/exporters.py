"""What this table holds of an account, for its export."""

from authmint_service.exporter import Exporter

EXPORTERS = (
    Exporter(
        table="one_time_tokens",
        statement="""
            SELECT jsonb_build_object('kind', kind, 'created_at', created_at, 'expires_at', expires_at)
              FROM authmint.one_time_tokens WHERE account_id = $1 ORDER BY created_at, kind
        """,
        left_out={
            "account_id": "The account's row has it.",
            "client_id": "A value of an account has no client.",
            "digest": "A secret.",
            "key_id": "It tells nothing about the person.",
            "tries": "It tells nothing about the person.",
        },
    ),
)
