"""Imported keys: which are accepted, and why the others are refused."""

import json
import secrets

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authmint.jose import SigningKey, encode_base64url
from authmint_service.errors import InvalidValue
from authmint_service.signing_keys import read_imported_key

# RFC 7515, appendix A.3: a published private key.
EXAMPLE = {
    "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}  # fmt: skip
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pem(key: PrivateKey, password: bytes | None = None, form: str = "PKCS8") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption)


def jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    found = key.private_numbers()
    numbers = {"n": found.public_numbers.n, "e": found.public_numbers.e, "d": found.d, "p": found.p, "q": found.q}
    numbers |= {"dp": found.dmp1, "dq": found.dmq1, "qi": found.iqmp}
    octets = {name: number.to_bytes((number.bit_length() + 7) // 8, "big") for name, number in numbers.items()}
    return {"kty": "RSA", **{name: encode_base64url(value) for name, value in octets.items()}}


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_keys_in_each_usual_form_are_read_and_get_the_algorithm_of_their_type(rsa_key: rsa.RSAPrivateKey) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for form in ("PKCS8", "TraditionalOpenSSL"):
        assert "ES256" == read_imported_key(pem(curve, form=form), None).algorithm
        assert "RS256" == read_imported_key(pem(rsa_key, form=form), None).algorithm
    assert "RS384" == read_imported_key(pem(rsa_key), "RS384").algorithm
    from_jwk, from_pem = read_imported_key(json.dumps(jwk(rsa_key)).encode(), None), read_imported_key(pem(rsa_key), None)
    assert (from_pem.kid, from_pem.to_pem()) == (from_jwk.kid, from_jwk.to_pem())
    named = json.dumps(jwk(rsa_key) | {"alg": "RS512", "kid": "my own"}).encode()
    assert ("RS512", from_pem.kid) == (read_imported_key(named, None).algorithm, read_imported_key(named, None).kid)


@pytest.mark.slow
def test_a_weak_foreign_or_well_known_key_is_refused_with_a_reason(rsa_key: rsa.RSAPrivateKey) -> None:
    private = jwk(rsa_key)
    other = jwk(rsa.generate_private_key(65537, 2048))
    refused: dict[bytes, str] = {
        pem(rsa.generate_private_key(65537, 1024)): "1024 bits",
        pem(rsa.generate_private_key(3, 2048)): "exponent",
        pem(ec.generate_private_key(ec.SECP256K1())): "secp256k1 is not supported",
        pem(ec.generate_private_key(ec.SECP224R1())): "secp224r1 is not supported",
        pem(ed25519.Ed25519PrivateKey.generate()): "neither an elliptic curve nor an RSA key",
        pem(rsa_key, b"password"): "encrypted",
        json.dumps(EXAMPLE).encode(): "example of RFC 7515",
        json.dumps(SigningKey.generate().public_jwk()).encode(): "no private half",
        json.dumps({"keys": [EXAMPLE]}).encode(): "neither unencrypted PEM nor a private JWK",
        json.dumps({"kty": "oct", "k": secrets.token_urlsafe(32)}).encode(): "neither unencrypted PEM nor a private JWK",
        json.dumps({name: private[name] for name in ("kty", "n", "e", "d")}).encode(): "lacks p, q",
        json.dumps(private | {"p": other["p"]}).encode(): "not the product of its primes",
        json.dumps(EXAMPLE | {"d": encode_base64url(secrets.token_bytes(32))}).encode(): "do not belong together",
        b"": "neither unencrypted PEM",
        b"x" * 70_000: "no key is this long",
        secrets.token_bytes(500): "neither unencrypted PEM",
    }
    for content, words in refused.items():
        with pytest.raises(InvalidValue, match="The key is refused") as raised:
            read_imported_key(content, None)
        assert words in str(raised.value), (words, str(raised.value))
    with pytest.raises(InvalidValue, match="5120 bits"):
        read_imported_key(pem(rsa.generate_private_key(65537, 5120)), None)


def test_a_key_does_not_get_an_algorithm_that_does_not_fit_it(rsa_key: rsa.RSAPrivateKey) -> None:
    for content, algorithm in (
        (pem(rsa_key), "ES256"), (pem(ec.generate_private_key(ec.SECP384R1())), "ES256"), (pem(rsa_key), "HS256"),
        (json.dumps(jwk(rsa_key) | {"alg": "RS384"}).encode(), "RS256"),
    ):  # fmt: skip
        with pytest.raises(InvalidValue, match="The key is refused"):
            read_imported_key(content, algorithm)
