"""Mintmark: tell, without a call to anyone, that an access token was struck by your token service."""

from mintmark.claims import AccessTokenClaims
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
from mintmark.key_sets import KeySet, RemoteKeySet, StaticKeySet
from mintmark.principal import Principal
from mintmark.resource_server import Door, ResourceServer

__all__ = [
    "AccessDenied",
    "AccessTokenClaims",
    "ConfigurationError",
    "Door",
    "InsufficientScope",
    "InvalidClient",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidScope",
    "InvalidTarget",
    "InvalidToken",
    "KeySet",
    "KeysUnavailable",
    "OAuthError",
    "Principal",
    "RemoteKeySet",
    "ResourceServer",
    "StaticKeySet",
    "TemporarilyUnavailable",
    "UnauthorizedClient",
    "UnsupportedGrantType",
]
