"""What these tables hold of an account, for its export."""

from authmint_service.exporter import Exporter

_NOT_PERSONAL = "It tells nothing about the person."

EXPORTERS = (
    Exporter(
        table="accounts",
        statement="""
            SELECT jsonb_build_object('id', id, 'state', state, 'disabled_reason', disabled_reason,
                                      'created_at', created_at, 'deleted_at', deleted_at)
              FROM authmint.accounts WHERE id = $1
        """,
        left_out={"credentials_version": _NOT_PERSONAL},
    ),
    Exporter(
        table="account_names",
        statement="""
            SELECT jsonb_build_object('kind', kind, 'text', text, 'prepared', prepared, 'is_primary', is_primary,
                                      'verified_at', verified_at, 'freed_at', freed_at)
              FROM authmint.account_names WHERE account_id = $1 ORDER BY kind, prepared
        """,
        left_out={"account_id": "The account's row has it."},
    ),
)
