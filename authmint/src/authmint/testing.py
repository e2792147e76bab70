"""Real tokens for the tests of resource services: signed with a throw-away key, verified as any other, offline."""

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

from authmint.claims import AccessTokenClaims, SubjectProfile
from authmint.jose import JWTSigner, SigningKey
from authmint.key_sets import StaticKeySet
from authmint.scopes import check_scopes

Headers = dict[str, str]
LIFETIME_SECONDS = 300


class Tokens:
    """Makes Authorization headers. Further keywords are claims: `tokens.user("u1", exp=1)`; None leaves a claim out."""

    def __init__(self, *, issuer: str, audiences: Sequence[str], leeway: int, clock: Callable[[], float]) -> None:
        self._issuer, self._audiences, self._leeway, self._clock = issuer, audiences, leeway, clock
        self._key = SigningKey.generate()
        self._signer = JWTSigner(self._key)
        self.key_set = StaticKeySet({"keys": [self._key.public_jwk()]})

    def user(self, sub: str = "user-1", scopes: Collection[str] = (), **claims: Any) -> Headers:
        """Return headers with the token of a user who has signed in."""
        return self._headers(self._signer, sub, scopes, "user", {"sid": "session-1"} | claims)

    def service(self, client_id: str = "service-1", scopes: Collection[str] = (), **claims: Any) -> Headers:
        """Return headers with the token of a service that acts for itself."""
        return self._headers(self._signer, client_id, scopes, "service", {"client_id": client_id} | claims)

    def expired(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """Return headers with a token that expired a second ago, beyond the leeway."""
        now = int(self._clock()) - self._leeway
        return self.user(sub, scopes, iat=now - LIFETIME_SECONDS - 1, exp=now - 1)

    def wrong_audience(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """Return headers with a good token for another service."""
        # Longer than each audience that is accepted, so none of them.
        return self.user(sub, scopes, aud=f"not-{max(self._audiences, key=len)}")

    def unknown_key(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """Return headers with a token of a key that the issuer never had."""
        return self._headers(JWTSigner(SigningKey.generate()), sub, scopes, "user", {})

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on. Tokens of the old one stay good if it is kept."""
        old, self._key = self._key, SigningKey.generate()
        self._signer = JWTSigner(self._key)
        self.key_set.replace({"keys": [key.public_jwk() for key in ([self._key, old] if keep_old else [self._key])]})

    def _headers(
        self, signer: JWTSigner, sub: str, scopes: Collection[str], profile: SubjectProfile, changes: dict[str, Any]
    ) -> Headers:
        now = int(self._clock())
        known = AccessTokenClaims(
            issuer=self._issuer,
            subject=sub,
            audience=(self._audiences[0],),
            client_id="client-1",
            scopes=check_scopes(scopes),
            issued_at=now,
            expires_at=now + LIFETIME_SECONDS,
            token_id=secrets.token_urlsafe(8),
            subject_profile=profile,
            epoch=now * 1000,
        )
        claims = {name: value for name, value in (known.to_claims() | changes).items() if value is not None}
        return {"Authorization": f"Bearer {signer.sign(claims)}"}
