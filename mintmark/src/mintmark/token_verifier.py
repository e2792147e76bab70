"""Verifies access tokens without a web framework: for middleware, workers, other protocols, and below the dependency."""

import logging
import time
from collections.abc import Callable

from mintmark.claims import read_claims
from mintmark.errors import InvalidToken
from mintmark.jose import ALGORITHMS, CompactJWS, Expectations, Parser, VerifyingKey, read_payload, verify_claims
from mintmark.key_sets import KeySet
from mintmark.principal import Principal

log = logging.getLogger("mintmark.tokens")


class TokenVerifier:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, keys: KeySet, expected: Expectations, *, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self.keys, self.expected = keys, expected
        self._clock = clock
        self._parser = Parser()

    async def verify(self, token: str) -> Principal:
        """The caller that `token` speaks for (RFC 9068, section 4).

        Raises InvalidToken, whatever is wrong with the token, and KeysUnavailable when nobody can tell.
        """
        try:
            jws = self._parser.parse(token)
            key = await self._key(jws)
            claims = read_payload(key.verify(jws))
            token_claims = read_claims(claims)
            verify_claims(token_claims, self.expected, self._clock())
        except InvalidToken as refused:
            # The token itself stays out of the log: whoever reads the log could use it.
            log.info("access token refused: %s", refused.reason)
            raise
        return Principal.of(token_claims, claims)

    async def _key(self, jws: CompactJWS) -> VerifyingKey:
        kid = jws.header.key_id
        if kid is None:
            raise InvalidToken("missing_kid")
        key = self.keys.find(kid)
        if key is not None:
            return key
        # Asking the issuer costs a request, so the token must at least look like one of its own. Nothing is believed yet.
        if jws.header.algorithm not in ALGORITHMS:
            raise InvalidToken("wrong_algorithm")
        if read_payload(jws.payload).get("iss") != self.expected.issuer:
            raise InvalidToken("wrong_issuer")
        return await self.keys.fetch(kid)
