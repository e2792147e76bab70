"""Authmint: tell, without a call to anyone, that an access token was struck by your token service."""

from authmint.bearer_auth import BearerAuth
from authmint.claims import AccessTokenClaims
from authmint.client_credentials import ServiceAuthError
from authmint.errors import (
    AccessDenied,
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
from authmint.events import Event
from authmint.issuers import Issuer
from authmint.key_sets import KeySet, RemoteKeySet, StaticKeySet
from authmint.middleware import ResourceServerMiddleware
from authmint.principal import Principal
from authmint.resource_server import ResourceServer
from authmint.service_auth import ServiceAuth

__all__ = [
    "AccessDenied",
    "AccessTokenClaims",
    "BearerAuth",
    "ConfigurationError",
    "Event",
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
