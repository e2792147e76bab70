"""The mint: the only place where access tokens are made; and what reads them again."""

from service.tokens.authorization import Authorization, TokenResponse
from service.tokens.mint import Mint
from service.tokens.reader import AccessTokenReader
from service.tokens.revocation_list import RevocationLists

__all__ = ["AccessTokenReader", "Authorization", "Mint", "RevocationLists", "TokenResponse"]
