"""The keys that sign tokens. They rotate by time, in one line for each algorithm.

Private keys are encrypted in the database, and decrypted only in the memory of processes that sign. The commands `keys …`
change keys. Each process loads them into its `KeyRing` when one was changed; the ring signs tokens and is the key set that
verifies them.
"""

from authmint_service.signing_keys.emergency import EmergencyRotation, rotate_emergency
from authmint_service.signing_keys.imported import read_imported_key
from authmint_service.signing_keys.key_usage import count_by_encryption_key
from authmint_service.signing_keys.ring import KeyRing, PublishedDocument, RotatingKeyRing, public_jwks
from authmint_service.signing_keys.rotation import KeyRotation
from authmint_service.signing_keys.schedule import JWKS_STALE_SECONDS, MAX_AGE, RotationPolicy, Schedule, State
from authmint_service.signing_keys.shared_secret import OWN_KEY_LABEL, SharedSecretKeyRing
from authmint_service.signing_keys.store import SigningKeyStore
from authmint_service.signing_keys.stored_key import StoredKey

__all__ = [
    "JWKS_STALE_SECONDS",
    "MAX_AGE",
    "OWN_KEY_LABEL",
    "EmergencyRotation",
    "KeyRing",
    "KeyRotation",
    "PublishedDocument",
    "RotatingKeyRing",
    "RotationPolicy",
    "Schedule",
    "SharedSecretKeyRing",
    "SigningKeyStore",
    "State",
    "StoredKey",
    "count_by_encryption_key",
    "public_jwks",
    "read_imported_key",
    "rotate_emergency",
]
