"""Signers, each of which holds one private key, and the `TokenSigner` that makes tokens with one."""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from authmint.jose import JWSWriter, SharedSecretKey, SigningKey


class Signer(Protocol):
    """Holds one private key. A KMS or an HSM can be a signer: it receives the bytes to sign, and the key never leaves it."""

    @property
    def algorithm(self) -> str:
        """The algorithm (RFC 7518) that it signs with."""

    @property
    def kid(self) -> str:
        """The thumbprint of its public key (RFC 7638); any name for a shared secret."""

    def public_jwk(self) -> dict[str, str] | None:
        """Return the public key with `kid`, `alg` and `use`; None for a shared secret."""

    async def sign(self, signing_input: bytes) -> bytes:
        """Return the signature in JWS form: for ECDSA both numbers at full length, not DER (RFC 7518, section 3.4).

        Raise TemporarilyUnavailable if the key cannot be reached.
        """


class LocalSigner:
    """A signer whose key is in the memory of this process."""

    def __init__(self, key: SigningKey) -> None:
        self._key, self.algorithm, self.kid = key, key.algorithm, key.kid

    def public_jwk(self) -> dict[str, str]:
        return self._key.public_jwk()

    async def sign(self, signing_input: bytes) -> bytes:
        # About 40 µs for an elliptic curve, 300 µs for RSA: a thread would cost more.
        return self._key.sign(signing_input)


class SharedSecretSigner:
    """A signer for HS256. The same secret signs and verifies, so nothing is published."""

    def __init__(self, secret: bytes, *, kid: str = "shared-secret") -> None:
        """Raise ValueError for a weak secret."""
        self.kid = kid
        self.verifying_key = SharedSecretKey(secret, kid=kid)
        self.algorithm = self.verifying_key.algorithm

    def public_jwk(self) -> None:
        return None

    async def sign(self, signing_input: bytes) -> bytes:
        return self.verifying_key.sign(signing_input)


class TokenSigner:
    """Makes compact JWSs (RFC 7515, section 7.1) with one signer."""

    def __init__(self, signer: Signer) -> None:
        self.kid = signer.kid
        self._signer = signer
        self._writer = JWSWriter(algorithm=signer.algorithm, kid=signer.kid, to_json=orjson.dumps)

    async def sign(self, claims: Mapping[str, Any], *, typ: str = "at+jwt") -> str:
        """Return the signed token. Raise TemporarilyUnavailable."""
        signing_input = self._writer.signing_input(claims, typ=typ)
        return self._writer.compact(signing_input, await self._signer.sign(signing_input))
