"""What has been revoked: sessions and tokens, and all tokens of an account, of a client, with a scope, or of all from before.

Sessions, accounts, clients and keys are revoked in their own packages. This package reads all of it in one statement, for the
revocation list.
"""

from authmint_service.revocations.covering import RevocationCovering, covering_task
from authmint_service.revocations.history import RevocationHistory
from authmint_service.revocations.store import RevocationReading, RevocationStore

__all__ = ["RevocationCovering", "RevocationHistory", "RevocationReading", "RevocationStore", "covering_task"]
