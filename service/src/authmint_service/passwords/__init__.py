"""Passwords: how they are prepared, judged, hashed and changed."""

from authmint_service.passwords.change import PasswordChange, WrongPassword
from authmint_service.passwords.hasher import PasswordHasher
from authmint_service.passwords.policy import CONTEXT_WORDS, PasswordPolicy
from authmint_service.passwords.preparation import prepare_password

__all__ = ["CONTEXT_WORDS", "PasswordChange", "PasswordHasher", "PasswordPolicy", "WrongPassword", "prepare_password"]
