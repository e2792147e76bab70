"""What was ended before its time: sessions, and the tokens of a person, a client or everyone up to a moment.

Sessions, people and clients are ended in their own rooms; here is the one statement that sees it all.
"""

from authmint_service.revocations.store import RevokedEntries, RevocationStore

__all__ = ["RevocationStore", "RevokedEntries"]
