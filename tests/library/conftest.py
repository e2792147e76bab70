"""An issuer for tests: a key, a time, and tokens with any claims."""

from typing import Any

import pytest

from authmint import ResourceServer
from authmint.jose import JWTSigner, SigningKey

ISSUER, AUDIENCE = "https://auth.example", "orders"
NOW = 1_800_000_000


class Issuer:
    """Signs claims with one key."""

    def __init__(self, key: SigningKey | None = None) -> None:
        self.key = key or SigningKey.generate()
        self.signer = JWTSigner(self.key)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.key.public_jwk()]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims, with some changed; a change to `...` leaves the claim out."""
        known = {
            "iss": ISSUER, "sub": "6f1c", "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "jti": "1", "client_id": "spa",
            "scope": "orders:read", "sub_profile": "user", "sid": "s",
        }  # fmt: skip
        return {name: value for name, value in (known | changes).items() if value is not ...}

    def token(self, *, typ: str = "at+jwt", **changes: Any) -> str:
        return self.signer.sign(self.claims(**changes), typ=typ)


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def server(issuer: Issuer) -> ResourceServer:
    return ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=lambda: NOW)
