"""Clients: the applications that may ask for tokens, what each may ask for, and how it authenticates."""

from authmint_service.clients.cache import ClientCache
from authmint_service.clients.client import Client, new_client_secret, secret_hash
from authmint_service.clients.store import ClientStore, ScopesUpdate

__all__ = ["Client", "ClientCache", "ClientStore", "ScopesUpdate", "new_client_secret", "secret_hash"]
