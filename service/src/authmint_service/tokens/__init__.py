"""Access tokens: the issuer, the only place where they are made; their reader; and the signed revocation list."""

from authmint_service.tokens.authorization import Authorization, TokenResponse
from authmint_service.tokens.issuer import TokenIssuer
from authmint_service.tokens.reader import AccessTokenReader
from authmint_service.tokens.revocation_list import RevocationListPublisher

__all__ = ["AccessTokenReader", "Authorization", "RevocationListPublisher", "TokenIssuer", "TokenResponse"]
