"""What an operator can change: one function for each change, with its checks, its epoch and its event inside.

Commands are thin callers of these functions, and so will be files, routes and pages. To disable an account or a client is a
method of its store.
"""

from authmint_service.administration.clients import update_client_scopes
from authmint_service.administration.restore import RestoredState, finish_restore, read_restored_state
from authmint_service.administration.secrets import SecretUsage, drop_refresh_token_key, read_secret_usage
from authmint_service.administration.tokens import revoke_all_tokens

__all__ = [
    "RestoredState",
    "SecretUsage",
    "drop_refresh_token_key",
    "finish_restore",
    "read_restored_state",
    "read_secret_usage",
    "revoke_all_tokens",
    "update_client_scopes",
]
