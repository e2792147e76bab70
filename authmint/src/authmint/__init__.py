"""Verify the access tokens of your token service in a FastAPI application, without a call to anyone for each request.

A name is imported when it is first used, so that `import authmint` alone costs no import of FastAPI.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authmint.bearer_auth import BearerAuth
    from authmint.challenge import BearerAuthError
    from authmint.claims import AccessTokenClaims
    from authmint.client_credentials import ServiceAuthError
    from authmint.errors import (
        ConfigurationError,
        InsufficientScope,
        InvalidClient,
        InvalidGrant,
        InvalidRequest,
        InvalidScope,
        InvalidTarget,
        InvalidToken,
        IssuerUnavailable,
        OAuthError,
        TemporarilyUnavailable,
        UnauthorizedClient,
        UnsupportedGrantType,
    )
    from authmint.events import Observer, VerificationEvent
    from authmint.issuers import Issuer
    from authmint.key_sets import KeySet, RemoteKeySet, StaticKeySet
    from authmint.middleware import ResourceServerMiddleware
    from authmint.principal import Principal
    from authmint.resource_server import ResourceServer
    from authmint.service_auth import ServiceAuth

__all__ = [
    "AccessTokenClaims",
    "BearerAuth",
    "BearerAuthError",
    "ConfigurationError",
    "InsufficientScope",
    "InvalidClient",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidScope",
    "InvalidTarget",
    "InvalidToken",
    "Issuer",
    "IssuerUnavailable",
    "KeySet",
    "OAuthError",
    "Observer",
    "Principal",
    "RemoteKeySet",
    "ResourceServer",
    "ResourceServerMiddleware",
    "ServiceAuth",
    "ServiceAuthError",
    "StaticKeySet",
    "TemporarilyUnavailable",
    "UnauthorizedClient",
    "UnsupportedGrantType",
    "VerificationEvent",
]

_MODULES = {
    "AccessTokenClaims": "authmint.claims",
    "BearerAuth": "authmint.bearer_auth",
    "BearerAuthError": "authmint.challenge",
    "ConfigurationError": "authmint.errors",
    "InsufficientScope": "authmint.errors",
    "InvalidClient": "authmint.errors",
    "InvalidGrant": "authmint.errors",
    "InvalidRequest": "authmint.errors",
    "InvalidScope": "authmint.errors",
    "InvalidTarget": "authmint.errors",
    "InvalidToken": "authmint.errors",
    "Issuer": "authmint.issuers",
    "IssuerUnavailable": "authmint.errors",
    "KeySet": "authmint.key_sets",
    "OAuthError": "authmint.errors",
    "Observer": "authmint.events",
    "Principal": "authmint.principal",
    "RemoteKeySet": "authmint.key_sets",
    "ResourceServer": "authmint.resource_server",
    "ResourceServerMiddleware": "authmint.middleware",
    "ServiceAuth": "authmint.service_auth",
    "ServiceAuthError": "authmint.client_credentials",
    "StaticKeySet": "authmint.key_sets",
    "TemporarilyUnavailable": "authmint.errors",
    "UnauthorizedClient": "authmint.errors",
    "UnsupportedGrantType": "authmint.errors",
    "VerificationEvent": "authmint.events",
}
"""The module of each public name. A test compares it with `__all__` and with the imports above."""


if not TYPE_CHECKING:  # A type checker that saw this function would accept every name.

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
