"""Accounts: who may sign in, under which name."""

from authmint_service.accounts.account import User
from authmint_service.accounts.store import AccountStore
from authmint_service.accounts.usernames import prepare_username

__all__ = ["AccountStore", "User", "prepare_username"]
