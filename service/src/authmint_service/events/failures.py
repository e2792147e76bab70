"""Failures of authentication: one event for each kind, client, address prefix and minute, however many there are.

Who guesses must not fill the table. The key of an event is a keyed hash, so that it holds no address once the event's personal
part is erased; a unique index lets one process record it.
"""

import hmac
from collections.abc import Callable
from dataclasses import replace

from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
from authmint_service.events.event import Event
from authmint_service.ip_addresses import address_prefix
from authmint_service.secret_keys import SecretKeys

MAX_A_MINUTE = 100
"""Prefixes that one process records in a minute; the rest of that minute is one event for each kind and client."""
MINUTE_SECONDS = 60

KEY_LABEL, NAME_LABEL = "failure-key/v1", "name-digest/v1"


class FailureRecorder:
    """Records failures of authentication."""

    def __init__(self, database: Database, keys: SecretKeys, clock: Callable[[], float]) -> None:
        """`keys`: those of refresh tokens, of which others are derived; `clock`: seconds since the epoch."""
        self._database, self._clock = database, clock
        self._key_secret, self._name_secret = (keys.derive(label)[keys.current_id] for label in (KEY_LABEL, NAME_LABEL))
        self._minute, self._recorded, self._prefixes = -1, set[bytes](), set[str]()

    def name_digest(self, name: str) -> str:
        """Return a keyed hash of a name that was tried. People type passwords there, so the text is never recorded."""
        return hmac.digest(self._name_secret, name.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()

    _RECORD = """
        INSERT INTO authmint.events (once, kind, actor_kind, actor_id, subject, client_id, request_id, details,
                                     personal, salt, personal_digest, occurred_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            ON CONFLICT (once) WHERE once IS NOT NULL DO NOTHING
    """

    async def record(self, event: Event) -> None:
        """Record a failure if it is the first of its kind, client, prefix and minute.

        The work does not depend on whether an account or a client exists. An unavailable database does not change the response
        to a request that is refused in any case: its log line has the failure.
        """
        now = self._clock()
        minute = int(now // MINUTE_SECONDS)
        if minute != self._minute:
            self._minute, self._recorded, self._prefixes = minute, set(), set()
        prefix = address_prefix(None if event.source is None else event.source.ip_address)
        if prefix not in self._prefixes and len(self._prefixes) >= MAX_A_MINUTE:
            prefix, event = "", replace(event, details={**event.details, "of_many_addresses": True})
        key = self._key(event, prefix, minute)
        if key in self._recorded:
            return
        # Before the statement: of a thousand at once one shall use a connection, and no more prefixes than there may be.
        recorded = self._recorded
        recorded.add(key)
        self._prefixes.add(prefix)
        try:
            await self._database.execute(self._RECORD, key, *event.values(now))
        except BaseException as error:
            # The next one of this minute records it.
            recorded.discard(key)
            if not isinstance(error, DatabaseUnavailable | SchemaOutdated):
                raise

    def _key(self, event: Event, prefix: str, minute: int) -> bytes:
        text = "\0".join((event.kind.value, event.client_id or "", prefix, str(minute)))
        return hmac.digest(self._key_secret, text.encode(), "sha256")
