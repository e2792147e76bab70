"""Authmint: verify the access tokens of your token service without a call to anyone."""

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
