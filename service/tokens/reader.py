"""Reads access tokens of our own, for whichever audience they are: for those who ask this service about them."""

from collections.abc import Callable

from mintmark.claims import AccessTokenClaims, read_claims
from mintmark.errors import InvalidToken
from mintmark.jose import Expectations, Parser, read_payload, verify_claims
from mintmark.key_sets import KeySet

LONGEST_LIFETIME, LEEWAY = 86_400, 30


class AccessTokenReader:
    """Verifies signature, issuer and times."""

    def __init__(self, keys: KeySet, *, issuer: str, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._keys, self._issuer, self._clock = keys, issuer, clock
        self._parser = Parser()

    def read(self, token: str) -> AccessTokenClaims:
        """The claims of a token that is good at this moment. Raises InvalidToken."""
        jws = self._parser.parse(token)
        key = self._keys.find(jws.header.key_id)
        if key is None:
            raise InvalidToken("unknown_key")
        claims = read_claims(read_payload(key.verify(jws)))
        # Another of our processes may have issued it by a clock that is ahead. Its end is its end all the same.
        expected = Expectations(
            issuer=self._issuer, audience=claims.audience[0], leeway=LEEWAY, longest_lifetime=LONGEST_LIFETIME
        )
        now = self._clock()
        verify_claims(claims, expected, now)
        if claims.expires_at <= now:
            raise InvalidToken("expired")
        return claims
