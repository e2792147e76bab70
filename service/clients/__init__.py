"""The applications that may ask for tokens, what each may ask for, and how each proves who it is."""

from service.clients.cache import ClientCache
from service.clients.client import Client, new_client_secret, secret_hash
from service.clients.store import ClientStore

__all__ = ["Client", "ClientCache", "ClientStore", "new_client_secret", "secret_hash"]
