"""Passwords: their preparation, policy, hashes, rows and change.

The account that a password belongs to is known by its id alone: `accounts` is a sibling. `authentication` uses both. `breaches`
is imported from its own module, as it needs an HTTP client.
"""

from authmint_service.passwords.change import PasswordChange, WrongPassword
from authmint_service.passwords.exporters import EXPORTERS
from authmint_service.passwords.hasher import PasswordCheck, PasswordHasher
from authmint_service.passwords.policy import PasswordPolicy
from authmint_service.passwords.preparation import prepare_password
from authmint_service.passwords.store import KeptSession, PasswordStore, SessionChanged, StoredPassword

__all__ = [
    "EXPORTERS",
    "KeptSession",
    "PasswordChange",
    "PasswordCheck",
    "PasswordHasher",
    "PasswordPolicy",
    "PasswordStore",
    "SessionChanged",
    "StoredPassword",
    "WrongPassword",
    "prepare_password",
]
