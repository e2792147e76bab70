"""The keys that sign access tokens: encrypted in the database, open only in the memory of the processes that sign."""

from service.signing_keys.ring import KeyRing
from service.signing_keys.store import SigningKeyStore
from service.signing_keys.upkeep import KeyUpkeep

__all__ = ["KeyRing", "KeyUpkeep", "SigningKeyStore"]
