"""Changes of clients."""

from collections.abc import Collection

from authmint_service.clients import ClientStore, ScopesUpdate
from authmint_service.errors import InvalidValue
from authmint_service.request_source import Actor, RequestSource


async def update_client_scopes(
    clients: ClientStore, client_id: str, scopes: Collection[str], now: float, *, actor: Actor,
    source: RequestSource | None = None,
) -> ScopesUpdate:  # fmt: skip
    """Let a client have these scopes and no others. Raise InvalidValue. `now`: seconds since the epoch.

    Its sessions stay. If a scope is taken away, the access tokens that it was given before are refused, and a refresh brings
    one without the scope. Nothing happens if the client has these scopes already.
    """
    updated = await clients.update_scopes(client_id, scopes, now, actor=actor, source=source)
    if updated is None:
        raise InvalidValue("client_id_unknown", field="client_id", client_id=client_id)
    return updated
