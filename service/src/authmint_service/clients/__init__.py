"""Clients: the applications that may ask for tokens, what each may ask for, and how it authenticates."""

from authmint_service.clients.cache import ClientCache
from authmint_service.clients.client import Client, new_client_secret, secret_hash
from authmint_service.clients.secrets import ClientSecret, ClientSecretStore, SecretUses
from authmint_service.clients.store import ClientStore
from authmint_service.clients.updates import ClientFields, ClientUpdate, ClientUpdates

__all__ = [
    "Client",
    "ClientCache",
    "ClientFields",
    "ClientSecret",
    "ClientSecretStore",
    "ClientStore",
    "ClientUpdate",
    "ClientUpdates",
    "SecretUses",
    "new_client_secret",
    "secret_hash",
]
