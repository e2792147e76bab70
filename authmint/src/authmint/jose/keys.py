"""Keys, each bound to the one algorithm it may be used with (RFC 7517, RFC 7518, RFC 8725 section 3.1).

A key is checked once, when it is loaded; tokens only look one up by its `kid`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk
from jose.backends.cryptography_backend import CryptographyECKey, CryptographyRSAKey

from authmint.errors import InvalidToken
from authmint.jose.encoding import decode_base64url, encode_base64url
from authmint.jose.parser import MAX_KEY_ID_LENGTH, CompactJWS
from authmint.secret_strength import is_guessable

_CURVES: dict[str, tuple[str, type[ec.EllipticCurve], int]] = {
    "ES256": ("P-256", ec.SECP256R1, 32),
    "ES384": ("P-384", ec.SECP384R1, 48),
    "ES512": ("P-521", ec.SECP521R1, 66),
}
_RSA = ("RS256", "RS384", "RS512")
_ALGORITHM_OF_CURVE = {curve: algorithm for algorithm, (curve, _, _) in _CURVES.items()}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# RFC 7518, section 3.3 sets the lower bound. The upper one keeps a foreign key set from making each verification slow.
_RSA_BITS = range(2048, 8193)
_SECRET_BYTES = range(32, 1025)
# Until 2017 the library in many smart cards made primes of one shape, and such keys can be factored (CVE-2017-15361). The shape
# shows in the modulus, which is a power of 65537 modulo each of these primes; of other keys one in 200 million looks like that.
_SHAPE_OF_WEAK_KEYS = {
    prime: frozenset(pow(65537, power, prime) for power in range(prime))
    for prime in (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
}

ALGORITHMS: tuple[str, ...] = (*_CURVES, *_RSA)
"""The algorithms of asymmetric keys. HS256 is apart, and only in SharedSecretKey."""

# Without its cryptography backend python-jose falls back to slower, unmaintained ones, without a warning.
if jwk.get_key("ES256") is not CryptographyECKey or jwk.get_key("RS256") is not CryptographyRSAKey:
    raise ImportError("python-jose does not use its cryptography backend. Install python-jose[cryptography].")


class _Key(Protocol):
    """The part of python-jose's keys that is used."""

    def sign(self, msg: bytes) -> bytes: ...
    def verify(self, msg: bytes, sig: bytes) -> bool: ...


class VerifyingKey:
    """A public key, and the one algorithm that it verifies."""

    def __init__(self, key: _Key, *, algorithm: str, kid: str | None) -> None:
        self._key = key
        self.algorithm = algorithm
        self.kid = kid

    @classmethod
    def from_jwk(cls, members: Mapping[str, Any]) -> "VerifyingKey":
        """Return the key of a JWK. Raise ValueError, with the reason, for every key that must not verify tokens.

        Without `alg` the algorithm is the one of the curve, or RS256.
        """
        if not isinstance(members, Mapping):
            raise ValueError("a key is not an object")
        kid = members.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KEY_ID_LENGTH or not kid.isprintable():
            raise ValueError("a key has no usable kid")
        if not _PRIVATE_MEMBERS.isdisjoint(members):
            raise ValueError("a published key has private members")
        if members.get("use", "sig") != "sig":
            raise ValueError("the key is not for signatures")
        operations = members.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise ValueError("the key is not for verifying")
        algorithm, public = _public_key(members)
        return cls(jwk.construct(public, algorithm), algorithm=algorithm, kid=kid)

    def verify(self, token: CompactJWS) -> bytes:
        """Return the payload of `token` if its signature is this key's. Raise InvalidToken."""
        if token.header.algorithm != self.algorithm:
            raise InvalidToken("wrong_algorithm")
        try:
            verified = self._key.verify(token.signing_input, token.signature)
        except Exception as error:
            # Whatever exception a signature causes in the library below, the signature is refused.
            raise InvalidToken("bad_signature") from error
        if verified is not True:
            raise InvalidToken("bad_signature")
        return token.payload


class SharedSecretKey(VerifyingKey):
    """HS256 with one secret, for the smallest set-up: every verifier can also sign. Never beside an asymmetric key."""

    def __init__(self, secret: bytes, *, kid: str | None = None) -> None:
        """`secret`: 32 random bytes at least (RFC 7518, section 3.2). Raise ValueError."""
        if len(secret) not in _SECRET_BYTES:
            raise ValueError("A shared secret has 32 to 1024 bytes. Make one with `openssl rand -base64 32`.")
        if is_guessable(secret):
            raise ValueError("A shared secret is random, and this one can be guessed. Make one with `openssl rand -base64 32`.")
        key = jwk.construct({"kty": "oct", "k": encode_base64url(secret)}, "HS256")
        super().__init__(key, algorithm="HS256", kid=kid)

    def sign(self, signing_input: bytes) -> bytes:
        """Return the HMAC (RFC 7518, section 3.2)."""
        return self._key.sign(signing_input)


class SigningKey:
    """A private key, and the one algorithm that it signs with. Its `kid` is its thumbprint, the same on every replica."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: str) -> None:
        """Raise ValueError when the key does not fit the algorithm, or is too short."""
        _check_fits(private.public_key(), algorithm)
        self._private = private
        self._key: Any = jwk.construct(private, algorithm)
        self.algorithm = algorithm
        self.kid = thumbprint(self._public_members())

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, kid={self.kid})"

    @classmethod
    def generate(cls, algorithm: str = "ES256", *, rsa_bits: int = 3072) -> "SigningKey":
        """Return a new random key."""
        if algorithm in _CURVES:
            return cls(ec.generate_private_key(_CURVES[algorithm][1]()), algorithm)
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits), algorithm)

    @classmethod
    def from_pem(cls, pem: bytes, algorithm: str | None = None) -> "SigningKey":
        """Return the key of unencrypted PEM; without `algorithm` it is for the one of its curve, or RS256. Raise ValueError."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except TypeError as error:
            raise ValueError("The key is encrypted. Decrypt it first.") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("The key is neither an elliptic curve nor an RSA key.")
        return cls(private, algorithm or _default_algorithm(private.public_key()))

    @classmethod
    def from_jwk(cls, members: Mapping[str, Any]) -> "SigningKey":
        """Return the key of a private JWK (RFC 7518, section 6). Raise ValueError."""
        algorithm, public = _public_key(members)
        secret = {name: _number(members, name) for name in ("d", "p", "q", "dp", "dq", "qi") if name in members}
        if "d" not in secret:
            raise ValueError("The key has no private half.")
        if isinstance(public, ec.EllipticCurvePublicKey):
            return cls(ec.EllipticCurvePrivateNumbers(secret["d"], public.public_numbers()).private_key(), algorithm)
        if len(secret) < 6:
            raise ValueError("The RSA key lacks p, q, dp, dq or qi.")
        numbers = rsa.RSAPrivateNumbers(
            secret["p"], secret["q"], secret["d"], secret["dp"], secret["dq"], secret["qi"], public.public_numbers()
        )
        return cls(numbers.private_key(), algorithm)

    def to_pem(self) -> bytes:
        """Return the private key as unencrypted PKCS #8. Keep it out of logs and plain files."""
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self._private.private_bytes(serialization.Encoding.PEM, pkcs8, plain)

    def public_jwk(self) -> dict[str, str]:
        """Return the public half, as it stands in a JWK set."""
        return {**self._public_members(), "use": "sig", "alg": self.algorithm, "kid": self.kid}

    def sign(self, signing_input: bytes) -> bytes:
        """Return the signature in the form of JWS (RFC 7518, sections 3.3 and 3.4)."""
        signature: bytes = self._key.sign(signing_input)
        return signature

    def _public_members(self) -> dict[str, str]:
        members: dict[str, str] = self._key.public_key().to_dict()
        return {name: members[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in members}


def thumbprint(members: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of a public JWK (RFC 7638)."""
    required = ("crv", "kty", "x", "y") if members["kty"] == "EC" else ("e", "kty", "n")
    canonical = json.dumps({name: members[name] for name in required}, separators=(",", ":"), sort_keys=True)
    return encode_base64url(hashlib.sha256(canonical.encode()).digest())


def _public_key(members: Mapping[str, Any]) -> tuple[str, ec.EllipticCurvePublicKey | rsa.RSAPublicKey]:
    kty, crv = members.get("kty"), members.get("crv")
    if kty == "EC" and isinstance(crv, str) and crv in _ALGORITHM_OF_CURVE:
        default = _ALGORITHM_OF_CURVE[crv]
        _, curve, size = _CURVES[default]
        x, y = _number(members, "x", size=size), _number(members, "y", size=size)
        public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
    elif kty == "RSA":
        default = "RS256"
        modulus = _number(members, "n")
        # Before cryptography checks it: to check an enormous number is itself slow.
        if modulus.bit_length() not in _RSA_BITS:
            raise ValueError("an RSA key has 2048 to 8192 bits")
        public = rsa.RSAPublicNumbers(_number(members, "e"), modulus).public_key()
    else:
        raise ValueError("the key type or curve is not supported")
    algorithm = members.get("alg", default)
    if not isinstance(algorithm, str):
        raise ValueError("the key's alg is not a string")
    _check_fits(public, algorithm)
    return algorithm, public


def _default_algorithm(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    if isinstance(public, rsa.RSAPublicKey):
        return "RS256"
    found = [algorithm for algorithm, (_, curve, _) in _CURVES.items() if isinstance(public.curve, curve)]
    if not found:
        raise ValueError(f"The curve {public.curve.name} is not supported. Supported are P-256, P-384 and P-521.")
    return found[0]


def _check_fits(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, algorithm: str) -> None:
    if algorithm in _CURVES:
        fits = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _CURVES[algorithm][1])
    elif algorithm in _RSA:
        fits = isinstance(public, rsa.RSAPublicKey) and public.key_size in _RSA_BITS
        if isinstance(public, rsa.RSAPublicKey) and _can_be_factored(public.public_numbers().n):
            raise ValueError("The key was made by a library whose keys can be factored (CVE-2017-15361). Make another one.")
    else:
        raise ValueError(f"The algorithm is not supported. Supported are {', '.join(ALGORITHMS)}.")
    if not fits:
        bits = f" of {public.key_size} bits" if isinstance(public, rsa.RSAPublicKey) else ""
        raise ValueError(f"The key{bits} does not fit {algorithm}.")


def _can_be_factored(modulus: int) -> bool:
    return all(modulus % prime in powers for prime, powers in _SHAPE_OF_WEAK_KEYS.items())


def _number(members: Mapping[str, Any], name: str, *, size: int | None = None) -> int:
    text = members.get(name)
    if not isinstance(text, str):
        raise ValueError(f"the key's {name} is missing")
    octets = decode_base64url(text)
    if not octets or (size is not None and len(octets) != size):
        raise ValueError(f"the key's {name} has the wrong length")
    return int.from_bytes(octets, "big")
