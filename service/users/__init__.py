"""People who sign in with a name and a password."""

from service.users.authentication import PasswordAuthenticator
from service.users.names import prepare_username
from service.users.password_change import PasswordChange, WrongPassword
from service.users.password_rules import CONTEXT_WORDS, PasswordRules
from service.users.passwords import PasswordHasher
from service.users.store import UserStore
from service.users.user import User

__all__ = [
    "CONTEXT_WORDS",
    "PasswordAuthenticator",
    "PasswordChange",
    "PasswordHasher",
    "PasswordRules",
    "User",
    "UserStore",
    "WrongPassword",
    "prepare_username",
]
