"""What an operator can change: one function for each change, with its checks, its epoch and its event inside.

Commands are thin callers of these functions, and so will be files, routes and pages. To disable an account is a method of its
store. `secrets` and `restore` are imported from their own modules, as they need much that no other command needs.
"""

from authmint_service.administration.clients import (
    add_client_secret,
    delete_client,
    disable_client,
    enable_client,
    remove_client_secret,
    unknown_client,
    update_client,
)
from authmint_service.administration.tokens import revoke_all_tokens

__all__ = [
    "add_client_secret",
    "delete_client",
    "disable_client",
    "enable_client",
    "remove_client_secret",
    "revoke_all_tokens",
    "unknown_client",
    "update_client",
]
