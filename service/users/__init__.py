"""People who sign in with a name and a password."""

from service.users.authentication import PasswordAuthenticator
from service.users.names import prepare_username
from service.users.password_rules import PasswordRules
from service.users.passwords import PasswordHasher
from service.users.store import UserStore
from service.users.user import User

__all__ = ["PasswordAuthenticator", "PasswordHasher", "PasswordRules", "User", "UserStore", "prepare_username"]
