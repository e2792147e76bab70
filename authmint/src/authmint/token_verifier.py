"""Verify access tokens without a web framework: for the dependency, middleware, workers and other protocols."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from authmint.background import result_of
from authmint.claims import AccessTokenClaims, TokenProfile, read_claims
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.events import Observer, RefusalLog, VerificationEvent, guarded
from authmint.jose import ALGORITHMS, CompactJWS, Expectations, Parser, VerifyingKey, read_payload, verify_claims
from authmint.key_sets import KeySet
from authmint.principal import Principal
from authmint.revocation_list import RevocationCheck
from authmint.token_cache import CachedToken, TokenCache

log = logging.getLogger("authmint.token_verifier")

_TOKEN_CACHED = VerificationEvent("token_cached")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer's keys, and what is expected of its tokens. They never verify tokens of another issuer (RFC 8725, 3.8)."""

    keys: KeySet
    expected: Expectations
    revocation_list: RevocationCheck | None = None
    """None: all tokens are good until they expire."""
    profile: TokenProfile | None = None


class TokenVerifier:
    """Verifies tokens of some issuers for one resource server."""

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        clock: Callable[[], float] = time.time,
        cache_size: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """`clock`: seconds since the epoch; `cache_size`: verified tokens to cache; `observer`: called for every event."""
        self.cache = TokenCache(cache_size)
        self.trust(issuers)
        self._clock, self._observe = clock, guarded(observer)
        self._refusals = RefusalLog(log, clock)
        self._parser = Parser()

    def trust(self, issuers: Sequence[TrustedIssuer]) -> None:
        """Trust these issuers from now on, and no others."""
        self.issuers = {trusted.expected.issuer: trusted for trusted in issuers}
        self._has_lists = any(trusted.revocation_list for trusted in issuers)
        self._only = issuers[0] if len(issuers) == 1 else None
        self.cache.clear()

    def find_cached(self, token: str) -> Principal | None:
        """Return the caller, if this very token was verified before and would be again."""
        cached = self.cache.find(token, self._clock())
        if cached is None or (self._has_lists and not self._is_live(cached)):
            return None
        self._observe(_TOKEN_CACHED)
        return cached.principal

    def _is_live(self, cached: CachedToken) -> bool:
        revocation_list = self.issuers[cached.principal.issuer].revocation_list
        if revocation_list is None:
            return True
        try:
            cached.checked_by = revocation_list.check(cached.principal, cached.checked_by)
        except (InvalidToken, IssuerUnavailable):
            return False
        return not revocation_list.is_overdue

    async def verify(self, token: str) -> Principal:
        """Return the caller that `token` authenticates (RFC 9068, section 4).

        Raise InvalidToken, whatever is wrong with the token, and IssuerUnavailable when its validity cannot be known.
        """
        cached = self.find_cached(token)
        if cached is not None:
            return cached
        try:
            jws, issuer = self._parse(token)
            key = _find_key(jws, issuer) or await issuer.keys.fetch(jws.header.key_id or "")
            if issuer.revocation_list is not None and issuer.revocation_list.is_overdue:
                await issuer.revocation_list.catch_up()
            return self._accept(token, jws, issuer, key)
        except (InvalidToken, IssuerUnavailable) as error:
            self._report(error)
            raise

    def verify_sync(self, token: str) -> Principal:
        """Do the same for a caller without an event loop, in any thread."""
        cached = self.find_cached(token)
        if cached is not None:
            return cached
        try:
            jws, issuer = self._parse(token)
            key = _find_key(jws, issuer) or result_of(issuer.keys.fetch(jws.header.key_id or ""))
            if issuer.revocation_list is not None and issuer.revocation_list.is_overdue:
                result_of(issuer.revocation_list.catch_up())
            return self._accept(token, jws, issuer, key)
        except (InvalidToken, IssuerUnavailable) as error:
            self._report(error)
            raise

    def _report(self, error: InvalidToken | IssuerUnavailable) -> None:
        if isinstance(error, InvalidToken):
            self._refusals.add(error.reason)
            self._observe(VerificationEvent("token_refused", error.reason))
        else:
            self._observe(VerificationEvent("issuer_unavailable"))

    def _parse(self, token: str) -> tuple[CompactJWS, TrustedIssuer]:
        jws = self._parser.parse(token)
        return jws, self._only or self._find_issuer(jws)

    def _accept(self, token: str, jws: CompactJWS, issuer: TrustedIssuer, key: VerifyingKey) -> Principal:
        members = read_payload(key.verify(jws))
        claims = read_claims(members, issuer.profile)
        verify_claims(claims, issuer.expected, self._clock())
        principal = Principal.from_claims(claims, members)
        if issuer.revocation_list is not None:
            issuer.revocation_list.check(principal)
        self.cache.store(token, _to_cached_token(principal, claims, issuer, key, jws.header.key_id))
        self._observe(VerificationEvent("token_verified"))
        return principal

    def _find_issuer(self, jws: CompactJWS) -> TrustedIssuer:
        # Nothing is trusted yet: `iss` only chooses whose keys must have signed this, and is compared again afterwards.
        name = read_payload(jws.payload).get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise InvalidToken("wrong_issuer")
        return issuer


def _find_key(jws: CompactJWS, issuer: TrustedIssuer) -> VerifyingKey | None:
    """Return the key, or None when it has to be fetched. Raise InvalidToken for a token that deserves no fetch."""
    kid = jws.header.key_id
    key = issuer.keys.find(kid)
    if key is not None:
        return key
    if kid is None:
        raise InvalidToken("missing_kid")
    # A fetch costs the issuer a request, so the token must at least look like one of its own.
    if jws.header.algorithm not in ALGORITHMS:
        raise InvalidToken("wrong_algorithm")
    if read_payload(jws.payload).get("iss") != issuer.expected.issuer:
        raise InvalidToken("wrong_issuer")
    return None


def _to_cached_token(
    principal: Principal, claims: AccessTokenClaims, issuer: TrustedIssuer, key: VerifyingKey, key_id: str | None
) -> CachedToken:
    leeway = issuer.expected.leeway
    valid_from = max(claims.issued_at, claims.not_before or 0) - leeway
    return CachedToken(principal, issuer.keys, key, key_id, valid_from=valid_from, valid_until=claims.expires_at + leeway)
