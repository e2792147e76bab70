"""Registered clients, and how one proves in a request that it is itself."""

from dataclasses import dataclass

from authmint_service.clients import ClientCache, ClientSecretStore, ClientStore, SecretUses
from authmint_service.endpoints.oauth.client_authentication import ClientAuthentication
from authmint_service.events import FailureRecorder
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.tasks import Task

WRITE_USES_SECONDS = 60.0


@dataclass(frozen=True)
class Clients:
    """The feature, the clients in memory, and the check of a client's credentials."""

    feature: Feature
    cache: ClientCache
    authentication: ClientAuthentication


def clients(kernel: Kernel, failures: FailureRecorder) -> Clients:
    cache = ClientCache(ClientStore(kernel.database), kernel.changes, kernel.database_clock)
    uses = SecretUses(ClientSecretStore(kernel.database), kernel.database_clock)
    feature = Feature(
        name="clients",
        tasks=(Task("write the uses of client secrets", WRITE_USES_SECONDS, uses.write),),
        at_stop=(uses.write_at_stop,),
    )
    return Clients(feature, cache, ClientAuthentication(cache, failures, uses))
