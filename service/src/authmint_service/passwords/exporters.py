"""What this table holds of an account, for its export."""

from authmint_service.exporter import Exporter

EXPORTERS = (
    Exporter(
        table="passwords",
        statement="SELECT jsonb_build_object('changed_at', changed_at) FROM authmint.passwords WHERE account_id = $1",
        left_out={"account_id": "The account's row has it.", "hash": "A secret."},
    ),
)
