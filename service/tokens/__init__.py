"""The mint: the only place where access tokens are made."""

from service.tokens.authorization import Authorization, TokenResponse
from service.tokens.mint import Mint

__all__ = ["Authorization", "Mint", "TokenResponse"]
