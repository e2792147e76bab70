"""What a grant is: what it says about itself, and what it does. The registry and the token endpoint read the rest from here."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from authmint_service.authentication import PasswordAuthenticator
from authmint_service.change_feed import ChangeFeed
from authmint_service.grants.request import GrantRequest
from authmint_service.sessions import Sessions
from authmint_service.tokens import Authorization


class ClientKind(Enum):
    """Whether a client can keep a secret (RFC 6749, section 2.1)."""

    PUBLIC = "public"
    CONFIDENTIAL = "confidential"


class ScopeSource(Enum):
    """Where the scopes and audiences of a token come from."""

    REQUEST = "request"
    """The request; what it does not name, the client's own."""
    STORED = "stored"
    """What was authorized before, such as a session. The request can only narrow it."""


class ParameterText(Enum):
    """Which text a parameter may hold."""

    PLAIN = "plain"
    CREDENTIAL = "credential"
    """With a NUL it is a wrong credential, with the same response after the same time as all wrong credentials."""
    OPAQUE = "opaque"
    """Any bytes: what is no token is refused by its reader."""


@dataclass(frozen=True, slots=True)
class GrantParameter:
    """A parameter of the token request that a grant has beyond those that all grants share."""

    name: str
    description: str
    secret: bool = False
    """Whether forms hide it."""
    repeatable: bool = False
    """Whether a request may have it more than once. Any other parameter is refused when it is repeated."""
    required: bool = True
    """Whether the token endpoint refuses a request without it."""
    text: ParameterText = ParameterText.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantParts:
    """What grants work with. The composition root makes it; each grant takes from it what it needs."""

    authenticator: PasswordAuthenticator
    sessions: Sessions
    changes: ChangeFeed
    """For the epoch of tokens that cost no statement."""


class Grant(ABC):
    """One way to get tokens. A subclass describes itself in these attributes, so that nothing else lists grants."""

    name: ClassVar[str]
    """The value of `grant_type`."""
    parameters: ClassVar[tuple[GrantParameter, ...]]
    """Its own parameters. `scope` and `resource` belong to every grant."""
    interactive: ClassVar[bool]
    """Whether it authenticates a person."""
    confidential_only: ClassVar[bool]
    """Whether it is for confidential clients alone."""
    scopes_from: ClassVar[ScopeSource]
    default_for: ClassVar[ClientKind | None] = None
    """Which clients have it when they are added without a list of grants."""

    def __init__(self, parts: GrantParts) -> None:
        self._parts = parts

    @abstractmethod
    async def authorize(self, request: GrantRequest) -> Authorization:
        """Return what the client is authorized to do. Raise an OAuthError, and then change nothing.

        The reading of the result was made by the statement that changes something, or before anything else was read: the
        endpoint applies the client as it was then, or later.

        A grant with stored scopes checks in the statement that changes something that the client may still have one of them, so
        that nothing is refused after the change.
        """

    async def complete(self, authorization: Authorization, request: GrantRequest) -> None:  # noqa: B027 - most have nothing to do
        """Do what must not happen for a request that fails. Called when its response has been made."""

    async def undo(self, authorization: Authorization) -> None:  # noqa: B027 - most grants change nothing
        """Take back what `authorize` changed. Called when no response could be made, or the request was cancelled."""
