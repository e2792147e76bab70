"""All that is stored of one account, over all nouns: its export and its deletion.

Both go by the database's catalogue: each table that refers to accounts is emptied by ON DELETE CASCADE, or has a reason in
`NOT_CASCADED`, and has an exporter. `tests/service/test_account_data.py` reads the catalogue and finds a table that lacks one.
"""

from authmint_service.account_data.deletion import NOT_CASCADED, delete_account
from authmint_service.account_data.export import EXPORTERS, NOT_OF_ACCOUNTS, export_account

__all__ = ["EXPORTERS", "NOT_CASCADED", "NOT_OF_ACCOUNTS", "delete_account", "export_account"]
