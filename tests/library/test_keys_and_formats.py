"""Key sets and token formats that must not pass, through the dependency, with keys of our own (T-11).

The cases are of the kinds in two files of Wycheproof's that are not on hand here: 26 about JWK sets, each below with its
number, and 83 about JWS and JWE. Every token is good in all but what its case is about.
"""

import base64
import hashlib
import hmac
import json
import math
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, RSAKey

from authmint import InvalidToken, ResourceServer
from authmint.errors import ConfigurationError
from authmint.jose import SigningKey, encode_base64url
from tests.library.conftest import AUDIENCE, ISSUER, NOW, Issuer

pytestmark = pytest.mark.anyio

EC, OTHER_EC, RSA = Issuer(), Issuer(), Issuer(SigningKey.generate("RS256", rsa_bits=2048))
SECRET = secrets.token_bytes(64)


async def accepts(token: str, *keys: dict[str, Any], secret: bytes | None = None) -> bool:
    """Return whether a dependency with these keys, or this secret, accepts `token`. One without a usable key accepts none."""
    source: dict[str, Any] = {"jwks": {"keys": list(keys)}} if secret is None else {"shared_secret": secret}
    try:
        server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW, **source)
    except ConfigurationError:
        return False
    try:
        await server.verify(token)
    except InvalidToken:
        return False
    return True


def signing_input(algorithm: str, kid: str) -> str:
    parts = ({"alg": algorithm, "typ": "at+jwt", "kid": kid}, EC.claims())
    return ".".join(encode_base64url(json.dumps(part).encode()) for part in parts)


def with_hmac(secret: bytes, algorithm: str = "HS256", kid: str = "a secret") -> str:
    text = signing_input(algorithm, kid)
    return f"{text}.{encode_base64url(hmac.digest(secret, text.encode(), f'sha{algorithm[2:]}'))}"


def oct_key(secret: bytes, algorithm: str = "HS256", kid: str = "a secret") -> dict[str, Any]:
    return {"kty": "oct", "k": encode_base64url(secret), "alg": algorithm, "use": "sig", "kid": kid}


def rsa_key(modulus: int, exponent: int, kid: str = "rsa") -> dict[str, Any]:
    n, e = (encode_base64url(number.to_bytes(-(-number.bit_length() // 8), "big")) for number in (modulus, exponent))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e}


def with_rsa(private: rsa.RSAPrivateKey, kid: str = "rsa") -> tuple[str, dict[str, Any]]:
    """A token signed by `private`, and the public JWK."""
    text, public = signing_input("RS256", kid), private.public_key().public_numbers()
    signature = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{encode_base64url(signature)}", rsa_key(public.n, public.e, kid)


def with_exponent_one(modulus: int) -> str:
    """Sign with the public key alone: with this exponent the signature is its own input."""
    text = signing_input("RS256", "rsa")
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(text.encode()).digest()
    padded = b"\0\1" + b"\xff" * (256 - 3 - len(digest)) + b"\0" + digest
    return f"{text}.{encode_base64url(padded)}"


def key_that_can_be_factored() -> rsa.RSAPrivateKey:
    """2048 bits; of the primes' shape k · M + (65537^a mod M), where M is the product of the first 126 primes."""
    small = [number for number in range(2, 702) if all(number % other for other in range(2, math.isqrt(number) + 1))]
    product = math.prod(small)
    assert 126 == len(small)

    def prime() -> int:
        while True:
            k = secrets.randbits(53) | 3 << 51
            found = k * product + pow(65537, secrets.randbits(60), product)
            if found.bit_length() == 1024 and pow(2, found - 1, found) == 1:
                return found

    p, q, e = prime(), prime(), 65537
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q))
    return numbers.private_key()


WEAK_TOKEN, WEAK_KEY = with_rsa(key_that_can_be_factored())
SHORT_TOKEN, SHORT_KEY = with_rsa(rsa.generate_private_key(65537, 1024))
MODULUS = int.from_bytes(base64.urlsafe_b64decode(RSA.key.public_jwk()["n"] + "=="), "big")
EC_JWK, RSA_JWK = EC.key.public_jwk(), RSA.key.public_jwk()
FLIPPED = EC_JWK["y"][:-2] + ("AA" if EC_JWK["y"][-2] != "A" else "QA")

REFUSED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "1 a secret beside a public key": (with_hmac(SECRET), [oct_key(SECRET), EC_JWK]),
    "3 a changed signature": (with_hmac(SECRET)[:-43] + "X" + with_hmac(SECRET)[-42:], [oct_key(SECRET)]),
    "4 two keys of one name": (EC.token(), [EC_JWK, OTHER_EC.key.public_jwk() | {"kid": EC.key.kid}]),
    "6 a key for encryption": (RSA.token(), [RSA_JWK | {"use": "enc", "alg": "RSA1_5"}]),
    "7 a key that can be factored": (WEAK_TOKEN, [WEAK_KEY]),
    "8 RSA with 1024 bits": (SHORT_TOKEN, [SHORT_KEY]),
    "9 an exponent of 1": (with_exponent_one(MODULUS), [rsa_key(MODULUS, 1)]),
    "11 a short secret for HS384": (with_hmac(SECRET[:47], "HS384"), [oct_key(SECRET[:47], "HS384")]),
    "12 a short secret for HS512": (with_hmac(SECRET[:63], "HS512"), [oct_key(SECRET[:63], "HS512")]),
    "14 HS384, which is not offered": (with_hmac(SECRET, "HS384"), [oct_key(SECRET, "HS384")]),
    "15 HS512, which is not offered": (with_hmac(SECRET, "HS512"), [oct_key(SECRET, "HS512")]),
    "17 no secret for HS384": (with_hmac(b"", "HS384"), [oct_key(b"", "HS384")]),
    "18 no secret for HS512": (with_hmac(b"", "HS512"), [oct_key(b"", "HS512")]),
    "19 an algorithm of another curve": (EC.token(), [EC_JWK | {"alg": "ES512"}]),
    "20 an unknown algorithm": (EC.token(), [EC_JWK | {"alg": "ES224"}]),
    "21 a curve's key for encryption": (EC.token(), [EC_JWK | {"use": "enc"}]),
    "22 a point that is not on the curve": (EC.token(), [EC_JWK | {"y": FLIPPED}]),
    "23 another curve": (EC.token(), [EC_JWK | {"crv": "P-384"}]),
    "24 another type of key": (EC.token(), [EC_JWK | {"kty": "RSA"}]),
    "25 a key of AES-GCM": (with_hmac(SECRET), [oct_key(SECRET, "A256GCM")]),
    "26 a key that wraps keys": (with_hmac(SECRET), [oct_key(SECRET, "A256KW")]),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_token_whose_key_must_not_verify_it_is_refused(case: str) -> None:
    token, keys = REFUSED[case]
    assert not await accepts(token, *keys)


async def test_the_same_tokens_are_accepted_where_the_key_is_good() -> None:
    assert await accepts(EC.token(), EC_JWK)
    assert await accepts(EC.token(), oct_key(SECRET), EC_JWK)
    assert await accepts(EC.token(), EC_JWK, OTHER_EC.key.public_jwk())
    assert await accepts(RSA.token(), RSA_JWK)
    token, key = with_rsa(rsa.generate_private_key(65537, 2048))
    assert await accepts(token, key)


async def test_a_shared_secret_of_32_bytes_or_more_verifies_hs256_and_nothing_else_does() -> None:
    """2, 10, 13 and 16; and 3, 14 and 15 once more."""
    assert await accepts(with_hmac(SECRET[:32]), secret=SECRET[:32])
    assert await accepts(with_hmac(SECRET), secret=SECRET)
    for token, secret in (
        (with_hmac(SECRET[:31]), SECRET[:31]), (with_hmac(b""), b""), (with_hmac(SECRET, "HS384"), SECRET),
        (with_hmac(SECRET, "HS512"), SECRET), (with_hmac(SECRET)[:-43] + "X" + with_hmac(SECRET)[-42:], SECRET),
    ):  # fmt: skip
        assert not await accepts(token, secret=secret)


def test_a_key_that_can_be_factored_does_not_sign_either() -> None:
    private = key_that_can_be_factored()
    plain = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    with pytest.raises(ValueError, match="can be factored"):
        SigningKey.from_pem(pem, "RS256")


def mutations(token: str) -> list[str]:
    """Each part changed, left out, and left out with its dot; and JSON in place of the compact form."""
    parts, found = token.split("."), []
    for number, part in enumerate(parts):
        before, after = parts[:number], parts[number + 1 :]
        changed = ("X" if part[:1] != "X" else "Y") + part[1:]
        found += [".".join([*before, instead, *after]) for instead in (changed, "")] + [".".join([*before, *after])]
    if len(parts) == 3:
        members: dict[str, Any] = {"protected": parts[0], "payload": parts[1], "signature": parts[2]}
        signature = {name: members[name] for name in ("protected", "signature")}
        found += [json.dumps(members), json.dumps({"payload": parts[1], "signatures": [signature]})]
    else:
        names = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
        found.append(json.dumps(dict(zip(names, parts, strict=True)) | {"unprotected": {"x": "y"}}))
    return found


@pytest.mark.parametrize("kind", ["HS256", "ES256", "RS256"])
async def test_a_token_that_was_changed_or_cut_anywhere_or_is_json_is_refused(kind: str) -> None:
    token, source = {
        "HS256": (with_hmac(SECRET), {"secret": SECRET}),
        "ES256": (EC.token(), {}),
        "RS256": (RSA.token(), {}),
    }[kind]  # fmt: skip
    assert await accepts(token, EC_JWK, RSA_JWK, **source)
    assert 11 == len(mutations(token))
    for mutation in mutations(token):
        assert not await accepts(mutation, EC_JWK, RSA_JWK, **source), mutation


@pytest.mark.parametrize("algorithm", ["dir", "A256KW", "RSA-OAEP", "ECDH-ES+A128KW"])
async def test_an_encrypted_token_is_refused_whole_changed_or_cut_even_when_it_is_for_our_key(algorithm: str) -> None:
    keys: dict[str, OctKey | RSAKey | ECKey] = {
        "dir": OctKey.import_key(SECRET[:32]), "A256KW": OctKey.import_key(SECRET[:32]),
        "RSA-OAEP": RSAKey.import_key(RSA.key.to_pem()), "ECDH-ES+A128KW": ECKey.import_key(EC.key.to_pem()),
    }  # fmt: skip
    kid = {"RSA-OAEP": RSA.key.kid, "ECDH-ES+A128KW": EC.key.kid}.get(algorithm, "a secret")
    header = {"alg": algorithm, "enc": "A256GCM" if algorithm == "dir" else "A128GCM", "typ": "at+jwt", "kid": kid}
    nested = EC.token().encode()
    for content in (nested, json.dumps(EC.claims()).encode()):
        token = jwe.encrypt_compact(header, content, keys[algorithm], algorithms=[algorithm, header["enc"]])
        for one in (token, *mutations(token)):
            assert not await accepts(one, EC_JWK, RSA_JWK), one
            assert not await accepts(one, secret=SECRET[:32]), one
