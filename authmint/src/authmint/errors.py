"""The errors that OAuth names, one class for each code and its status. Headers are chosen by the endpoints and by `challenge`.

OAuthError
  InvalidRequest  InvalidClient  InvalidGrant  UnauthorizedClient  UnsupportedGrantType  InvalidScope     RFC 6749 5.2
  InvalidTarget                                                                                           RFC 8707 2
  TemporarilyUnavailable                                                                                  RFC 6749 4.1.2.1
  InvalidToken  InsufficientScope                                                                         RFC 6750 3.1
IssuerUnavailable     the issuer's keys or its revocation list are not available: neither the token nor the caller is at fault
ConfigurationError    settings that are wrong or contradict each other
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar


class OAuthError(Exception):
    """An error with a code that OAuth registers.

    `description` is public: printable ASCII without quotes and backslashes, and never anything that the caller sent.
    `extra` has more members of the response, which are public too.
    A private cause goes into `raise … from cause`; it may be logged and is never sent.
    """

    error: ClassVar[str] = "server_error"
    status: ClassVar[int] = 400
    """The status of a response with this error."""
    default_description: ClassVar[str] = "The request could not be served."

    def __init__(self, description: str | None = None, *, extra: Mapping[str, Any] | None = None) -> None:
        self.description = description or self.default_description
        self.extra: Mapping[str, Any] = extra or {}
        super().__init__(self.description)


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated, malformed or contradicts another (RFC 6749, section 5.2)."""

    error = "invalid_request"
    default_description = "The request is malformed."


class InvalidClient(OAuthError):
    """The client is unknown, or its authentication failed (RFC 6749, section 5.2)."""

    error = "invalid_client"
    status = 401
    default_description = "Client authentication failed."


class InvalidGrant(OAuthError):
    """The credentials or the refresh token are wrong, expired, revoked or another client's (RFC 6749, section 5.2)."""

    error = "invalid_grant"
    default_description = "The credentials are not valid."


class UnauthorizedClient(OAuthError):
    """The client is known and may not use this grant (RFC 6749, section 5.2)."""

    error = "unauthorized_client"
    default_description = "This client may not use this grant type."


class UnsupportedGrantType(OAuthError):
    """The server does not offer this grant (RFC 6749, section 5.2)."""

    error = "unsupported_grant_type"
    default_description = "This grant type is not supported."


class InvalidScope(OAuthError):
    """The scope is malformed, unknown, or beyond what was granted (RFC 6749, section 5.2)."""

    error = "invalid_scope"
    default_description = "The requested scope is not available."


class InvalidTarget(OAuthError):
    """The `resource` is not one that this client may ask for (RFC 8707, section 2)."""

    error = "invalid_target"
    default_description = "The requested resource is not available to this client."


class TemporarilyUnavailable(OAuthError):
    """The server cannot respond now; the same request may succeed `retry_after` seconds later."""

    error = "temporarily_unavailable"
    status = 503
    default_description = "The service is not available at the moment. Try again later."

    def __init__(self, description: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(description)
        self.retry_after = retry_after


class InvalidToken(OAuthError):
    """An access token that is refused (RFC 6750, section 3.1).

    `reason` is a code of this package's own, for logs and metrics. The description is the same for every reason but one: the
    client learns that the token is bad, and nothing else. Of a good token that was made before something was taken away it
    learns that a new one helps.
    """

    error = "invalid_token"
    status = 401
    default_description = "The access token is expired, revoked, malformed or not valid for this service."
    epoch_description = "The access token was made before a change of what it may be used for. Request a new one."

    def __init__(self, reason: str) -> None:
        super().__init__(self.epoch_description if reason == "epoch_revoked" else None)
        self.reason = reason


class InsufficientScope(OAuthError):
    """A good token without the scopes that the operation requires, `scopes` (RFC 6750, section 3.1)."""

    error = "insufficient_scope"
    status = 403
    default_description = "The access token does not allow this operation."

    def __init__(self, scopes: Collection[str], description: str | None = None) -> None:
        super().__init__(description)
        self.scopes = frozenset(scopes)


class IssuerUnavailable(Exception):
    """The issuer's keys, or its revocation list, were never fetched or are too old. Try again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(ValueError):
    """Settings are wrong or contradict each other; the message names them, and what to do."""
