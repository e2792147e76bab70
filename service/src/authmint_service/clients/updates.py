"""A client is changed: the rows, the change that other processes read, and the event."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.clients.client import Client
from authmint_service.clients.store import read_client
from authmint_service.database import Database
from authmint_service.events import Event, EventKind
from authmint_service.request_source import Actor, RequestSource

SETS = ("grants", "scopes", "resources", "origins")
"""The fields of which an event names what was added and removed."""
TAKING = ("grants", "scopes", "resources")
"""The fields of which a loss makes the tokens worthless that the client was given before."""


class ClientFields(TypedDict, total=False):
    """New values of a client's fields, as `Client` describes them. What is left out stays."""

    name: str
    grants: frozenset[str]
    scopes: frozenset[str]
    resources: tuple[str, ...]
    default_resources: tuple[str, ...]
    refresh_grace_seconds: int | None
    session_idle_ttl: int | None
    session_ttl: int | None
    refresh_cookie: bool
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientUpdate:
    """A client before and after an update."""

    before: Client
    after: Client

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the fields that have another value."""
        names = ClientFields.__annotations__
        return tuple(name for name in names if getattr(self.before, name) != getattr(self.after, name))

    def added(self, name: str) -> list[str]:
        """Return what one of `SETS` has now, and had not."""
        return sorted(set(getattr(self.after, name)) - set(getattr(self.before, name)))

    def removed(self, name: str) -> list[str]:
        """Return what one of `SETS` had, and has no more."""
        return sorted(set(getattr(self.before, name)) - set(getattr(self.after, name)))

    @property
    def takes(self) -> bool:
        """Whether tokens from before have more than the client may have now."""
        return any(self.removed(name) for name in TAKING)

    def details(self) -> dict[str, object]:
        """Return what the event says of it."""
        said: dict[str, object] = {}
        for name in self.changed:
            if name in SETS:
                said |= {f"added_{name}": self.added(name), f"removed_{name}": self.removed(name)}
            else:
                said[name] = getattr(self.after, name)
        return said


class ClientUpdates:
    """Changes the fields of clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _FIND = """
        SELECT client_id, subject, name, confidential, grants, scopes, resources, default_resources, enabled,
               refresh_grace_seconds, session_idle_ttl, session_ttl, refresh_cookie, origins, '{}'::bytea[] AS hashes
          FROM authmint.clients WHERE client_id = $1 AND deleted_at IS NULL
    """
    _UPDATE = """
        WITH updated AS (UPDATE authmint.clients
                            SET name = $2, grants = $3, scopes = $4, resources = $5, default_resources = $6,
                                refresh_grace_seconds = $7, session_idle_ttl = $8, session_ttl = $9, refresh_cookie = $10,
                                origins = $11
                          WHERE client_id = $1 RETURNING client_id),
             event AS (INSERT INTO authmint.events (kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                                    personal, salt, personal_digest, occurred_at)
                       SELECT $12, $13, $14, $15, coalesce(client_id, $16), $17, $18, $19, $20, $21, $22 FROM updated)
        SELECT client_id FROM updated
    """

    @repeat_if_undone
    async def update(
        self, client_id: str, fields: ClientFields, now: float, *, check: Callable[[Client], None], actor: Actor,
        source: RequestSource | None = None,
    ) -> ClientUpdate | None:  # fmt: skip
        """Give a client's fields these values. Return None if there is no such client. Raise InvalidValue.

        `check`: raises InvalidValue for a client that is refused. `now`: seconds since the epoch. Without a difference nothing
        is written.
        """
        async with change_transaction(self._database) as change:
            # No lock is needed: each transaction that changes a client has the turn.
            row = await change.connection.fetchrow(self._FIND, client_id)
            if row is None:
                return None
            before = read_client(row)
            update = ClientUpdate(before, replace(before, **fields))
            check(update.after)
            if update.changed:
                event = Event(
                    kind=EventKind.CLIENT_UPDATED, actor=actor, source=source, client_id=client_id, details=update.details()
                )
                await change.connection.fetchval(self._UPDATE, *_values(update.after), *event.values(now))
                await change.record(ChangeKind.CLIENT, client_id, takes=update.takes)
                if _cookie_origins(update.before) != _cookie_origins(update.after):
                    await change.record(ChangeKind.ORIGINS, client_id, takes=bool(update.removed("origins")))
        return update


def _values(client: Client) -> tuple[object, ...]:
    return (
        client.client_id, client.name, sorted(client.grants), sorted(client.scopes), list(client.resources),
        list(client.default_resources), client.refresh_grace_seconds, client.session_idle_ttl, client.session_ttl,
        client.refresh_cookie, list(client.origins),
    )  # fmt: skip


def _cookie_origins(client: Client) -> tuple[str, ...]:
    return client.origins if client.refresh_cookie else ()
