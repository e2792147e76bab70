"""The keys that sign tokens: they follow each other by time, encrypted in the database, open only in processes that sign."""

from authmint_service.signing_keys.emergency import EmergencyRotation, RaiseEpoch, rotate_emergency
from authmint_service.signing_keys.imported import read_imported_key
from authmint_service.signing_keys.ring import KeyRing, PublishedDocument, RotatingKeyRing, SharedSecretKeyRing, public_jwks
from authmint_service.signing_keys.rotation import KeyRotation
from authmint_service.signing_keys.schedule import MAX_AGE, JWKS_STALE_SECONDS, RotationPolicy, Schedule, State
from authmint_service.signing_keys.store import SigningKeyStore, StoredKey

__all__ = [
    "MAX_AGE",
    "JWKS_STALE_SECONDS",
    "EmergencyRotation",
    "KeyRing",
    "KeyRotation",
    "Policy",
    "PublishedDocument",
    "RaiseEpoch",
    "RotatingKeyRing",
    "Schedule",
    "SharedSecretKeyRing",
    "SigningKeyStore",
    "State",
    "StoredKey",
    "public_jwks",
    "read_imported_key",
    "rotate_emergency",
]
