"""Issues access tokens (RFC 9068)."""

import secrets
from collections.abc import Callable
from typing import Any

from authmint.claims import AccessTokenClaims
from authmint.errors import TemporarilyUnavailable
from authmint.jose import encode_base64url
from authmint_service.signing_keys import KeyRing
from authmint_service.tokens.authorization import Authorization, TokenResponse

JITTER = 0.04
"""The fraction by which lifetimes vary, so that clients that signed in together do not all refresh together."""
ID_BYTES = 16


class TokenIssuer:
    """Makes an access token of an authorization, and signs it with the active key."""

    def __init__(self, ring: KeyRing, *, issuer: str, lifetime: int, clock: Callable[[], float]) -> None:
        """`lifetime`: of an access token, seconds at most; `clock`: seconds since the epoch."""
        self._ring, self._issuer, self._lifetime, self._clock = ring, issuer, lifetime, clock
        self._own_audience = (issuer,)

    async def issue(self, authorization: Authorization) -> TokenResponse:
        """Return the tokens for an authorization. Raise TemporarilyUnavailable while there is no key.

        The life of an access token begins with the reading of its authorization. Raise TemporarilyUnavailable if it is over.
        """
        issued_at = int(authorization.reading.read_at)
        # One call for random bytes: the id, and one byte that shortens the lifetime.
        random = secrets.token_bytes(ID_BYTES + 1)
        lifetime = self._lifetime - int(self._lifetime * JITTER * random[-1] / 255)
        claims = AccessTokenClaims(
            issuer=self._issuer,
            subject=authorization.subject,
            audience=authorization.audiences,
            client_id=authorization.client_id,
            scopes=authorization.scopes,
            issued_at=issued_at,
            expires_at=issued_at + lifetime,
            token_id=encode_base64url(random[:ID_BYTES]),
            subject_profile=authorization.subject_profile,
            session_id=authorization.session_id,
            epoch=authorization.reading.epoch,
        )
        is_own = claims.audience == self._own_audience
        signer = self._ring.own_signer if is_own else self._ring.signer
        signed = await signer.sign({**claims.to_claims(), **_more_claims(authorization)})
        expires_in = int(claims.expires_at - self._clock())
        if expires_in <= 0:
            raise TemporarilyUnavailable("The token took longer to issue than it would have lived.")
        return TokenResponse(
            access_token=signed,
            expires_in=expires_in,
            scopes=authorization.scopes,
            refresh_token=authorization.refresh_token,
            token_id=claims.token_id,
            token_type=authorization.token_type,
            issued_token_type=authorization.issued_token_type,
            extra=authorization.extra,
        )


def _more_claims(authorization: Authorization) -> dict[str, Any]:
    """Return the claims that only some tokens have."""
    claims: dict[str, Any] = {}
    if authorization.authentication is not None:
        claims["auth_time"] = authorization.authentication.time
        claims["amr"] = authorization.authentication.methods
    if authorization.confirmation is not None:
        claims["cnf"] = dict(authorization.confirmation)
    if authorization.actor is not None:
        claims["act"] = dict(authorization.actor)
    return claims
