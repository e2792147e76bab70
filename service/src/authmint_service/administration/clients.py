"""Changes of clients. Each raises InvalidValue for a client that does not exist. `now`: seconds since the epoch."""

from collections.abc import Callable

from authmint_service.clients import (
    Client,
    ClientFields,
    ClientSecret,
    ClientSecretStore,
    ClientStore,
    ClientUpdate,
    ClientUpdates,
    secret_hash,
)
from authmint_service.database import Database
from authmint_service.errors import InvalidValue
from authmint_service.request_source import Actor, RequestSource


def accept_any(_: Client) -> None:
    """Accept every client that does not contradict itself."""


async def update_client(
    database: Database, client_id: str, fields: ClientFields, now: float, *, check: Callable[[Client], None] = accept_any,
    actor: Actor, source: RequestSource | None = None,
) -> ClientUpdate:  # fmt: skip
    """Give a client's fields these values; the others stay. `check`: raises InvalidValue for a client that is refused.

    Its sessions stay. If a grant, a scope or a resource is taken away, the access tokens that it was given before are refused,
    and a refresh brings one without it. Nothing happens if there is no difference.
    """
    updates = ClientUpdates(database)
    update = await updates.update(client_id, fields, now, check=check, actor=actor, source=source)
    if update is None:
        raise unknown_client(client_id)
    return update


async def disable_client(
    database: Database, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
) -> None:
    """Give a client no more tokens, end all its sessions, and refuse the tokens that it has."""
    if not await ClientStore(database).disable(client_id, now, actor=actor, source=source):
        raise unknown_client(client_id)


async def enable_client(
    database: Database, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
) -> None:
    """Give a client tokens again. Revoked sessions stay revoked."""
    if not await ClientStore(database).enable(client_id, now, actor=actor, source=source):
        raise unknown_client(client_id)


async def delete_client(
    database: Database, client_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
) -> None:
    """Delete a client, its secrets and all that it may have; end its sessions and refuse its tokens. Its id is used up."""
    if not await ClientStore(database).delete(client_id, now, actor=actor, source=source):
        raise unknown_client(client_id)


async def add_client_secret(
    database: Database, client_id: str, secret: str, now: float, *, lifetime: float | None = None, actor: Actor,
    source: RequestSource | None = None,
) -> ClientSecret:  # fmt: skip
    """Let a client use one more secret beside the one it has. `lifetime`: seconds, None for one that does not expire."""
    store, hashed = ClientSecretStore(database), secret_hash(secret)
    added = await store.add(client_id, hashed, now, lifetime=lifetime, actor=actor, source=source)
    if added is None:
        raise unknown_client(client_id)
    return added


async def remove_client_secret(
    database: Database, client_id: str, secret_id: str, now: float, *, actor: Actor, source: RequestSource | None = None
) -> None:
    """Remove one of a client's secrets, and refuse the tokens that the client has: it gets new ones with another secret."""
    if (await ClientStore(database).load(client_id)).client is None:
        raise unknown_client(client_id)
    if not await ClientSecretStore(database).remove(client_id, secret_id, now, actor=actor, source=source):
        raise InvalidValue("secret_unknown", field="secret", client_id=client_id)


def unknown_client(client_id: str) -> InvalidValue:
    """Return the error about a client that does not exist."""
    return InvalidValue("client_id_unknown", field="client_id", client_id=client_id)
