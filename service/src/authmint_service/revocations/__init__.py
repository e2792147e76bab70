"""What has been revoked: sessions, and all tokens of an account, of a client, or of everyone up to a time.

Sessions, accounts and clients are revoked and disabled in their own packages. This package reads all of it in one statement,
for the revocation list.
"""

from authmint_service.revocations.store import RevocationStore, RevokedEntries

__all__ = ["RevocationStore", "RevokedEntries"]
