"""Mintmark: tell, without a call to anyone, that an access token was struck by your token service."""

from mintmark.claims import AccessTokenClaims
from mintmark.client_credentials import ServiceAuthError
from mintmark.doors import Door
from mintmark.errors import (
    AccessDenied,
    ConfigurationError,
    InsufficientScope,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    KeysUnavailable,
    OAuthError,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from mintmark.events import Event
from mintmark.issuers import Issuer
from mintmark.key_sets import KeySet, RemoteKeySet, StaticKeySet
from mintmark.middleware import ResourceServerMiddleware
from mintmark.principal import Principal
from mintmark.resource_server import ResourceServer
from mintmark.service_auth import ServiceAuth

__all__ = [
    "AccessDenied",
    "AccessTokenClaims",
    "ConfigurationError",
    "Door",
    "Event",
    "InsufficientScope",
    "InvalidClient",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidScope",
    "InvalidTarget",
    "InvalidToken",
    "Issuer",
    "KeySet",
    "KeysUnavailable",
    "OAuthError",
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
]
