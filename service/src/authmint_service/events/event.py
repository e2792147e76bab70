"""One audit event, as the statement that records it takes it."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from authmint_service.database import to_datetime
from authmint_service.request_source import Actor, RequestSource

SALT_BYTES = 16
MAX_PERSONAL_LENGTH = 256
"""Characters of one personal text; the rest is cut off, as a client chooses its user agent."""


class EventKind(StrEnum):
    """What can happen: `noun.past_participle`, one vocabulary with the events of the logs."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DELETED = "account.deleted"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    CLIENT_CREATED = "client.created"
    CLIENT_DELETED = "client.deleted"
    CLIENT_DISABLED = "client.disabled"
    CLIENT_ENABLED = "client.enabled"
    CLIENT_SECRET_ADDED = "client_secret.added"  # noqa: S105 - an event, no secret
    CLIENT_SECRET_REMOVED = "client_secret.removed"  # noqa: S105 - an event, no secret
    CLIENT_UPDATED = "client.updated"
    CLIENT_REFUSED = "client.refused"
    """It did not prove who it is. Recorded once for each address prefix and minute, as is `sign_in.failed`."""
    DATABASE_RESTORED = "database.restored"
    PASSWORD_CHANGE_REFUSED = "password.change_refused"  # noqa: S105 - an event, no secret
    """The current password was wrong. Recorded once for each address prefix and minute."""
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - an event, no secret
    REFRESH_TOKEN_KEY_DROPPED = "refresh_token_key.dropped"  # noqa: S105 - an event, no secret
    REFRESH_TOKEN_REPEATED = "refresh_token.repeated"  # noqa: S105 - an event, no secret
    REFRESH_TOKEN_REUSED = "refresh_token.reused"  # noqa: S105 - an event, no secret
    SESSION_REVOKED = "session.revoked"
    SESSION_STARTED = "session.started"
    SESSIONS_REVOKED = "sessions.revoked"
    SIGN_IN_FAILED = "sign_in.failed"
    SIGNING_KEY_CREATED = "signing_key.created"
    SIGNING_KEY_IMPORTED = "signing_key.imported"
    SIGNING_KEY_RETIRED = "signing_key.retired"
    """The end of a line of keys was announced: its algorithm is no longer configured."""
    SIGNING_KEY_REVOKED = "signing_key.revoked"
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - an event, no secret
    TOKENS_REVOKED = "tokens.revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that changed, and who changed it."""

    kind: StrEnum
    """One of EventKind, or of the kinds of a feature that is not part of this service."""
    actor: Actor
    source: RequestSource | None = None
    """Where the request came from; None for commands and background tasks."""
    subject: str | None = None
    """The account concerned; None if there is none, or if the statement finds it."""
    client_id: str | None = None
    """The client concerned; the same."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Of what changed. Nothing about a person and nothing that a client chose: these stay when an account is erased."""
    personal: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What is erased with the account: names, and what people wrote. Address and user agent of `source` are added."""

    def values(self, now: float) -> tuple[object, ...]:
        """Return the values of the columns, in the order that this package's docstring has. `now`: seconds since the epoch.

        Each call has a new salt, so that equal personal parts cannot be found by their digests.
        """
        personal = self._personal()
        text = json.dumps(personal) if personal else None
        salt = secrets.token_bytes(SALT_BYTES) if text is not None else None
        digest = None if text is None or salt is None else personal_digest(salt, text)
        return (
            self.kind.value, self.actor.kind, self.actor.id, self.subject, self.client_id,
            None if self.source is None else self.source.request_id, json.dumps(dict(self.details)), text, salt, digest,
            to_datetime(now),
        )  # fmt: skip

    def _personal(self) -> dict[str, object]:
        source: Mapping[str, object] = {}
        if self.source is not None:
            source = {"ip_address": self.source.ip_address, "user_agent": self.source.user_agent}
        return {
            name: _storable(value) if isinstance(value, str) else value
            for name, value in {**source, **self.personal}.items()
            if value is not None
        }


def _storable(text: str) -> str:
    """Return the text without what PostgreSQL cannot hold in its JSON: NUL, and halves of surrogate pairs."""
    return text[:MAX_PERSONAL_LENGTH].encode("utf-8", "replace").decode().replace("\0", "?")


def personal_digest(salt: bytes, personal: str) -> bytes:
    """Return SHA-256(salt ‖ personal part), the text as the column has it: it stays when both are erased."""
    return hashlib.sha256(salt + personal.encode()).digest()
