"""Access tokens: what they are made of; the issuer, the only place where they are made; their reader; the revocation list."""

from authmint_service.tokens.authentication import Authentication, Step, StepKind
from authmint_service.tokens.authorization import Authorization, TokenResponse
from authmint_service.tokens.issuer import TokenIssuer
from authmint_service.tokens.reader import AccessTokenReader
from authmint_service.tokens.revocation_list import RevocationListPublisher

__all__ = [
    "AccessTokenReader",
    "Authentication",
    "Authorization",
    "RevocationListPublisher",
    "Step",
    "StepKind",
    "TokenIssuer",
    "TokenResponse",
]
