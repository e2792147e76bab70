"""The keys that sign tokens: they follow each other by time, encrypted in the database, open only in processes that sign."""

from service.signing_keys.emergency import RaiseNotBefore, Replacement, replace_leaked_keys
from service.signing_keys.imported import read_imported_key
from service.signing_keys.ring import KeyRing, Published, Ring, SharedSecretRing, public_jwks
from service.signing_keys.schedule import MAX_AGE, STALE, Policy, Schedule, State
from service.signing_keys.store import SigningKeyStore, StoredKey
from service.signing_keys.upkeep import KeyUpkeep

__all__ = [
    "MAX_AGE",
    "STALE",
    "KeyRing",
    "KeyUpkeep",
    "Policy",
    "Published",
    "RaiseNotBefore",
    "Replacement",
    "Ring",
    "Schedule",
    "SharedSecretRing",
    "SigningKeyStore",
    "State",
    "StoredKey",
    "public_jwks",
    "read_imported_key",
    "replace_leaked_keys",
]
