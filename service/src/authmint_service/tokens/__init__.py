"""The mint: the only place where access tokens are made; and what reads them again."""

from authmint_service.tokens.authorization import Authorization, TokenResponse
from authmint_service.tokens.issuer import TokenIssuer
from authmint_service.tokens.reader import AccessTokenReader
from authmint_service.tokens.revocation_list import RevocationListPublisher

__all__ = ["AccessTokenReader", "Authorization", "RevocationListPublisher", "TokenIssuer", "TokenResponse"]
