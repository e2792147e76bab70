"""Registered clients, and how one proves in a request that it is itself."""

from dataclasses import dataclass

from authmint_service.clients import ClientCache, ClientStore
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.events import FailureRecorder
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel


@dataclass(frozen=True)
class Clients:
    """The feature, the clients in memory, and the check of a client's credentials."""

    feature: Feature
    cache: ClientCache
    authentication: ClientAuthentication


def clients(kernel: Kernel, failures: FailureRecorder) -> Clients:
    cache = ClientCache(ClientStore(kernel.database), kernel.changes, kernel.database_clock)
    return Clients(Feature(name="clients"), cache, ClientAuthentication(cache, failures))
