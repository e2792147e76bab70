"""Verifies access tokens without a web framework: for middleware, workers, other protocols, and below the dependency."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authmint.claims import AccessTokenClaims, read_claims
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.events import Event, Observer, guarded
from authmint.jose import ALGORITHMS, CompactJWS, Expectations, Parser, VerifyingKey, read_payload, verify_claims
from authmint.key_sets import KeySet
from authmint.principal import Principal
from authmint.revocation_list import Revocations
from authmint.token_cache import CachedToken, TokenCache

log = logging.getLogger("authmint.token_verifier")

_TOKEN_CACHED = Event("token_cached")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer's keys, and what is expected of its tokens. They never verify tokens of another issuer (RFC 8725, 3.8)."""

    keys: KeySet
    expected: Expectations
    revocations: Revocations | None = None
    """What it has revoked; None: all tokens are good until they expire."""


class TokenVerifier:
    """Verifies tokens of some issuers for one audience."""

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        clock: Callable[[], float] = time.time,
        cache_size: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """`clock`: seconds since the epoch; `cache_size`: verified tokens to remember; `observer`: hears of every event."""
        self.cache = TokenCache(cache_size)
        self.trust(issuers)
        self._clock, self._observe = clock, guarded(observer)
        self._parser = Parser()

    def trust(self, issuers: Sequence[TrustedIssuer]) -> None:
        """Believes these issuers from now on, and no others."""
        self.issuers = {trusted.expected.issuer: trusted for trusted in issuers}
        self._follows = any(trusted.revocations for trusted in issuers)
        self._only = issuers[0] if len(issuers) == 1 else None
        self.cache.clear()

    def recall(self, token: str) -> Principal | None:
        """The caller, when this very token was verified before and would be again."""
        principal = self.cache.find(token, self._clock())
        if principal is None or (self._follows and not self._is_live(principal)):
            return None
        self._observe(_TOKEN_CACHED)
        return principal

    def _is_live(self, principal: Principal) -> bool:
        try:
            self._check_revocations(principal)
        except (InvalidToken, IssuerUnavailable):
            return False
        return True

    def _check_revocations(self, principal: Principal) -> None:
        revocations = self.issuers[principal.issuer].revocations
        if revocations is not None:
            revocations.check(principal)

    async def verify(self, token: str) -> Principal:
        """The caller that `token` speaks for (RFC 9068, section 4).

        Raises InvalidToken, whatever is wrong with the token, and IssuerUnavailable when nobody can tell.
        """
        remembered = self.recall(token)
        if remembered is not None:
            return remembered
        try:
            principal = await self._verify(token)
        except InvalidToken as refused:
            # The token itself stays out of the log: whoever reads the log could use it.
            log.info("access token refused: %s", refused.reason)
            self._observe(Event("token_refused", refused.reason))
            raise
        except IssuerUnavailable:
            self._observe(Event("issuer_unavailable"))
            raise
        self._observe(Event("token_verified"))
        return principal

    async def _verify(self, token: str) -> Principal:
        jws = self._parser.parse(token)
        issuer = self._only or self._find_issuer(jws)
        key = await _find_key(jws, issuer)
        members = read_payload(key.verify(jws))
        claims = read_claims(members)
        verify_claims(claims, issuer.expected, self._clock())
        principal = Principal.of(claims, members)
        self._check_revocations(principal)
        self.cache.remember(token, _remembered(principal, claims, issuer, key, jws.header.key_id))
        return principal

    def _find_issuer(self, jws: CompactJWS) -> TrustedIssuer:
        # Nothing is believed yet: `iss` only chooses whose keys must have signed this, and is compared again afterwards.
        name = read_payload(jws.payload).get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise InvalidToken("wrong_issuer")
        return issuer


async def _find_key(jws: CompactJWS, issuer: TrustedIssuer) -> VerifyingKey:
    kid = jws.header.key_id
    key = issuer.keys.find(kid)
    if key is not None:
        return key
    if kid is None:
        raise InvalidToken("missing_kid")
    # Asking the issuer costs a request, so the token must at least look like one of its own.
    if jws.header.algorithm not in ALGORITHMS:
        raise InvalidToken("wrong_algorithm")
    if read_payload(jws.payload).get("iss") != issuer.expected.issuer:
        raise InvalidToken("wrong_issuer")
    return await issuer.keys.fetch(kid)


def _remembered(
    principal: Principal, claims: AccessTokenClaims, issuer: TrustedIssuer, key: VerifyingKey, key_id: str | None
) -> CachedToken:
    leeway = issuer.expected.leeway
    begins = max(claims.issued_at, claims.not_before or 0) - leeway
    return CachedToken(principal, issuer.keys, key, key_id, valid_from=begins, valid_until=claims.expires_at + leeway)
