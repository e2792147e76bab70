"""Accounts: one row for each person, their state, and the names that find them.

Passwords and other credentials are not here; a sign-in reads the account and its hash with one statement of `AccountStore`.
"""

from authmint_service.accounts.account import Account, AccountState
from authmint_service.accounts.exporters import EXPORTERS
from authmint_service.accounts.store import AccountStore
from authmint_service.accounts.usernames import prepare_username

__all__ = ["EXPORTERS", "Account", "AccountState", "AccountStore", "prepare_username"]
