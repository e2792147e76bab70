"""What this table holds of an account, for its export."""

from authmint_service.exporter import Exporter

_NOT_PERSONAL = "It tells nothing about the person."

EXPORTERS = (
    Exporter(
        table="sessions",
        statement="""
            SELECT jsonb_build_object('id', id, 'client_id', client_id, 'scopes', scopes, 'audiences', audiences,
                                      'started_at', started_at, 'rotated_at', rotated_at, 'idle_expires_at', idle_expires_at,
                                      'expires_at', expires_at, 'revoked_at', revoked_at, 'end_cause', end_cause,
                                      'ip_address', ip_address, 'user_agent', user_agent, 'device_id', device_id,
                                      'repeats', repeats)
              FROM authmint.sessions WHERE account_id = $1 ORDER BY started_at, id
        """,
        left_out={
            "account_id": "The account's row has it.",
            "covered_by": _NOT_PERSONAL,
            "generation": _NOT_PERSONAL,
            "handle": "A part of the refresh token.",
            "late_repeats": _NOT_PERSONAL,
            "refresh_key_id": _NOT_PERSONAL,
            "repeated_generation": _NOT_PERSONAL,
            "rotation_source": "A keyed hash of where the last refresh came from: nothing can be read from it.",
            "tokens_until": _NOT_PERSONAL,
        },
    ),
)
