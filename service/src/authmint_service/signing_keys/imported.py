"""Keys from outside, as PEM (PKCS #8, SEC 1, PKCS #1) or a private JWK, and the checks that they must pass."""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from authmint.jose import SigningKey, decode_base64url, read_json_object
from authmint_service.errors import InvalidValue
from authmint_service.signing_keys.weak_keys import CURVES, check_ec, check_rsa

MAX_BYTES = 65_536
_NAMES = {curve.name: crv for crv, curve in CURVES.items()}
_RSA_MEMBERS = frozenset({"n", "e", "d", "p", "q", "dp", "dq", "qi"})

# Published private keys, by thumbprint (RFC 7638).
EXAMPLE_KEYS = {
    "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8": "RFC 7515, appendix A.2",
    "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U": "RFC 7515, appendix A.3",
    "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s": "RFC 7517, appendix A",
    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": "RFC 7517, appendix A",
    "oGDmHqCJ7yzMkWEkrlZVHkvrHIyQwtlDmeq5ForUHeY": "jwt.io",
    "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8": "jwt.io",
}


UNFIT = {"Invalid key", "Invalid private key"}
"""What the library says of numbers that do not fit together."""


def read_imported_key(content: bytes, algorithm: str | None) -> SigningKey:
    """Return the key in a file. `algorithm`: None for that of its curve, or RS256. Raise InvalidValue with the reason."""
    if len(content) > MAX_BYTES:
        raise InvalidValue("key_too_long", field="key")
    try:
        _check_strength(content)
        key = _read(content, algorithm)
    except InvalidValue:
        raise
    except (ValueError, KeyError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidValue("key_unreadable", field="key", reason=_reason(str(error))) from error
    if key.kid in EXAMPLE_KEYS:
        raise InvalidValue("key_public", field="key", source=EXAMPLE_KEYS[key.kid])
    return key


def _read(content: bytes, algorithm: str | None) -> SigningKey:
    if not _is_jwk(content):
        return SigningKey.from_pem(content, algorithm)
    members = read_json_object(content)
    named = members.get("alg", algorithm)
    if algorithm is not None and named != algorithm:
        raise ValueError(f"The JWK is for {named}.")
    return SigningKey.from_jwk(members if named is None else members | {"alg": named})


def _is_jwk(content: bytes) -> bool:
    return content.lstrip().startswith(b"{")


def _reason(message: str) -> str:
    if message in UNFIT:
        return "Its numbers do not fit together."
    return message if message.endswith(".") else "It is neither unencrypted PEM nor a private JWK."


def _check_strength(content: bytes) -> None:
    """Raise InvalidValue for a weak key. A key that is not of a known form passes: to read it says what is wrong."""
    if _is_jwk(content):
        _check_jwk(read_json_object(content))
        return
    try:
        # Unchecked, as a key that is wrong on purpose has no other reason than "invalid".
        private = serialization.load_pem_private_key(content, password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return
    if isinstance(private, rsa.RSAPrivateKey):
        check_rsa(private.private_numbers())
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        numbers, crv = private.private_numbers(), _NAMES.get(private.curve.name)
        if crv is not None:
            check_ec(crv, numbers.private_value, numbers.public_numbers.x, numbers.public_numbers.y)


def _check_jwk(members: Mapping[str, Any]) -> None:
    if members.get("kty") == "RSA" and _RSA_MEMBERS <= members.keys():
        n, e, d, p, q, dp, dq, qi = (_number(members[name]) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))
        check_rsa(rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)))
    elif members.get("crv") in CURVES and {"x", "y", "d"} <= members.keys():
        check_ec(members["crv"], *(_number(members[name]) for name in ("d", "x", "y")))


def _number(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("A number of the JWK is not text.")
    return int.from_bytes(decode_base64url(text))
