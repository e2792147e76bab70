"""One-time values: links that are mailed or printed, and short codes that are typed. Each has one kind, and opens nothing else.

The database holds an HMAC over kind, owner and value. Its key is derived from the configured ones and is not in the database: a
dump opens nothing, and not even a code of six digits can be found by trying.

A value is used up by the statement that has the effect, so that it has it once, or not at all. The first common table
expression of that statement is this, and `PresentedToken.values` are its first parameters:

    WITH used AS (DELETE FROM authmint.one_time_tokens
                   WHERE kind = $1 AND digest = ANY($2::bytea[]) AND expires_at > $3
                     AND account_id IS NOT DISTINCT FROM $4 AND client_id IS NOT DISTINCT FROM $5
                  RETURNING account_id, client_id)
    UPDATE … FROM used WHERE … = used.account_id RETURNING …

No row means: refused. Nothing says whether the value was malformed, forged, expired, used, another kind's or another owner's:
each of these takes the same statements. `tests/architecture/test_one_time_statements.py` finds a statement that differs.
"""

from authmint_service.one_time_tokens.deletion import delete_one_time_tokens
from authmint_service.one_time_tokens.exporters import EXPORTERS
from authmint_service.one_time_tokens.key_usage import count_by_key
from authmint_service.one_time_tokens.kinds import Code, Kind, Link, Owner, check_kinds
from authmint_service.one_time_tokens.tokens import OneTimeTokens, PresentedToken

__all__ = [
    "EXPORTERS",
    "Code",
    "Kind",
    "Link",
    "OneTimeTokens",
    "Owner",
    "PresentedToken",
    "check_kinds",
    "count_by_key",
    "delete_one_time_tokens",
]
