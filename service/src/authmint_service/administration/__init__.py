"""What an operator can change: one function for each change, with its checks, its epoch and its event inside.

Commands are thin callers of these functions, and so will be files, routes and pages. To disable an account or a client is a
method of its store. `secrets` and `restore` are imported from their own modules, as they need much that no other command needs.
"""

from authmint_service.administration.clients import update_client_scopes
from authmint_service.administration.tokens import revoke_all_tokens

__all__ = ["revoke_all_tokens", "update_client_scopes"]
