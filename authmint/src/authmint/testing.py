"""Real tokens for other people's tests: signed with a throw-away key, verified as any other, without a server or a network."""

import secrets
from collections.abc import Callable, Collection
from typing import Any

from authmint.claims import AccessTokenClaims, SubjectProfile
from authmint.jose import Signer, SigningKey
from authmint.key_sets import StaticKeySet

Headers = dict[str, str]
LIFETIME = 300


class Tokens:
    """Makes Authorization headers. Further keywords are claims: `tokens.user("u1", exp=1)`; None leaves a claim out."""

    def __init__(self, *, issuer: str, audience: str, leeway: int, clock: Callable[[], float]) -> None:
        self._issuer, self._audience, self._leeway, self._clock = issuer, audience, leeway, clock
        self._key = SigningKey.generate()
        self._signer = Signer(self._key)
        self.key_set = StaticKeySet({"keys": [self._key.public_jwk()]})

    def user(self, sub: str = "user-1", scopes: Collection[str] = (), **claims: Any) -> Headers:
        """A person who has signed in."""
        return self._headers(self._signer, sub, scopes, "user", {"sid": "session-1"} | claims)

    def machine(self, client_id: str = "service-1", scopes: Collection[str] = (), **claims: Any) -> Headers:
        """A service that acts for itself."""
        return self._headers(self._signer, client_id, scopes, "service", {"client_id": client_id} | claims)

    def expired(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """A token that was good until a moment beyond the leeway ago."""
        now = int(self._clock()) - self._leeway
        return self.user(sub, scopes, iat=now - LIFETIME - 1, exp=now - 1)

    def wrong_audience(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """A good token for another service."""
        return self.user(sub, scopes, aud=f"not-{self._audience}")

    def unknown_key(self, sub: str = "user-1", scopes: Collection[str] = ()) -> Headers:
        """A token of a key that the issuer never had."""
        return self._headers(Signer(SigningKey.generate()), sub, scopes, "user", {})

    def rotate(self, *, keep_old: bool = True) -> None:
        """A new key signs from now on. Tokens of the old one stay good if it is kept."""
        old, self._key = self._key, SigningKey.generate()
        self._signer = Signer(self._key)
        self.key_set.replace({"keys": [key.public_jwk() for key in ([self._key, old] if keep_old else [self._key])]})

    def _headers(
        self, signer: Signer, sub: str, scopes: Collection[str], profile: SubjectProfile, changes: dict[str, Any]
    ) -> Headers:
        now = int(self._clock())
        known = AccessTokenClaims(
            issuer=self._issuer,
            subject=sub,
            audience=(self._audience,),
            client_id="client-1",
            scopes=frozenset(scopes),
            issued_at=now,
            expires_at=now + LIFETIME,
            token_id=secrets.token_urlsafe(8),
            subject_profile=profile,
        )
        claims = {name: value for name, value in (known.to_claims() | changes).items() if value is not None}
        return {"Authorization": f"Bearer {signer.sign(claims)}"}
