"""Verifies access tokens that this service has issued, for any audience: for revocation and introspection."""

from collections.abc import Callable

from authmint import Principal
from authmint.claims import read_claims
from authmint.errors import InvalidToken, TemporarilyUnavailable
from authmint.jose import Expectations, Parser, read_payload, verify_claims
from authmint.key_sets import KeySet
from authmint.token_cache import CachedToken, TokenCache
from authmint_service.signing_keys import KeyRing

MAX_LIFETIME, LEEWAY = 86_400, 30
MAX_CACHED = 10_000
"""Tokens. A gateway introspects the same token again and again, and the signature is most of the cost."""


class AccessTokenReader:
    """Verifies signature, issuer and times of access tokens. Verified tokens are cached until they expire."""

    def __init__(self, keys: KeyRing, own_keys: KeySet, *, issuer: str, clock: Callable[[], float]) -> None:
        """`own_keys`: of tokens for the issuer alone; `clock`: seconds since the epoch."""
        self._keys, self._own_keys, self._issuer, self._clock = keys, own_keys, issuer, clock
        self._parser, self._known = Parser(), TokenCache(MAX_CACHED)

    def read(self, token: str) -> Principal:
        """Return the principal of a token that is valid now. Raise InvalidToken.

        Raise TemporarilyUnavailable if only other processes can verify it.
        """
        now = self._clock()
        cached = self._known.find(token, now)
        return self._verify(token, now) if cached is None else cached.principal

    def _verify(self, token: str, now: float) -> Principal:
        jws = self._parser.parse(token)
        key = self._keys.find(jws.header.key_id)
        if key is None:
            if self._keys.is_elsewhere(jws.header.key_id):
                raise TemporarilyUnavailable
            raise InvalidToken("unknown_key")
        members = read_payload(key.verify(jws))
        claims = read_claims(members)
        if claims.audience == (self._issuer,) and self._own_keys.find(jws.header.key_id) is not key:
            # Each service that has a shared secret can make tokens with it, but none for the issuer.
            raise InvalidToken("unknown_key")
        # Another process may have issued the token by a clock that is ahead, so `iat` has a leeway. `exp` has none.
        audiences = frozenset(claims.audience)
        expected = Expectations(issuer=self._issuer, audiences=audiences, leeway=LEEWAY, max_lifetime=MAX_LIFETIME)
        verify_claims(claims, expected, now)
        if claims.expires_at <= now:
            raise InvalidToken("expired")
        principal = Principal.from_claims(claims, members)
        begins = max(claims.issued_at, claims.not_before or 0) - LEEWAY
        self._known.store(
            token, CachedToken(principal, self._keys, key, jws.header.key_id, valid_from=begins, valid_until=claims.expires_at)
        )
        return principal
