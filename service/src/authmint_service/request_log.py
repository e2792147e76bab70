"""The record of a request: what is learned about it while it is served, for its one log line and for the metrics.

A context variable holds the record of the current request. It has no default: what is recorded outside of a request is dropped,
and reaches no other request.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from enum import Enum
from typing import TypedDict, Unpack


class Outcome(Enum):
    """What a request came to. The value is the event of its log line."""

    SERVED = "request.served"
    """Anything that none of the others says, errors of other routes included."""
    TOKEN_ISSUED = "token.issued"  # noqa: S105 - an event, no secret
    REQUEST_REFUSED = "request.refused"
    """An OAuth error (RFC 6749, section 5.2)."""
    TOKEN_REFUSED = "token.refused"  # noqa: S105 - an event, no secret
    """The access token was not accepted (RFC 6750, section 3.1)."""


class RequestFields(TypedDict, total=False):
    """The fields of the log line that are learned on the way. None of them is a secret."""

    request_id: str
    ip_address: str
    trace_id: str
    client_id: str
    grant_type: str | None
    sub: str | None
    sid: str | None
    jti: str | None
    error: str
    """An OAuth error code, or the code of a problem."""
    reason: str


class RequestRecord:
    """Collects the outcome and the fields of one request. Cheap: one is made for each request."""

    __slots__ = ("fields", "is_routine", "outcome")

    def __init__(self, **fields: Unpack[RequestFields]) -> None:
        self.outcome = Outcome.SERVED
        self.is_routine = False
        """Whether it is one of those that a client repeats all day, as long polls are: its line is of the level debug."""
        self.fields = fields

    def bind(self) -> "Token[RequestRecord | None]":
        """Make this the record of the current context: every log line of the request has its fields until `unbind`."""
        return _current.set(self)

    @staticmethod
    def unbind(token: "Token[RequestRecord | None]") -> None:
        """End what `bind` began: what the context does after the request belongs to none."""
        _current.reset(token)

    def add(self, **fields: Unpack[RequestFields]) -> None:
        """Add fields; a later value replaces an earlier one."""
        self.fields.update(fields)

    def set_outcome(self, outcome: Outcome, **fields: Unpack[RequestFields]) -> None:
        """Set what the request came to, and add fields."""
        self.outcome = outcome
        self.fields.update(fields)


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)
_NO_FIELDS: Mapping[str, object] = {}


def current_record() -> RequestRecord:
    """Return the record of the current request; outside of a request a new one, which nobody reads."""
    return _current.get() or RequestRecord()


def current_fields() -> Mapping[str, object]:
    """Return the fields of the current request, none outside of one. For reading alone."""
    record = _current.get()
    return _NO_FIELDS if record is None else record.fields
