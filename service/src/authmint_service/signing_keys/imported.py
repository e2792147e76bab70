"""Keys from outside, as PEM (PKCS #8, SEC 1, PKCS #1) or a private JWK, and the checks that they must pass."""

from authmint.jose import SigningKey, decode_base64url, read_json_object
from authmint_service.errors import InvalidValue

MAX_BYTES = 65_536
RSA_BITS = range(2048, 4097)
MIN_EXPONENT = 65_537

# Published private keys, by thumbprint (RFC 7638).
EXAMPLE_KEYS = {
    "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8": "RFC 7515, appendix A.2",
    "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U": "RFC 7515, appendix A.3",
    "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s": "RFC 7517, appendix A",
    "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": "RFC 7517, appendix A",
    "oGDmHqCJ7yzMkWEkrlZVHkvrHIyQwtlDmeq5ForUHeY": "jwt.io",
    "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8": "jwt.io",
}


def read_imported_key(content: bytes, algorithm: str | None) -> SigningKey:
    """Return the key in a file. `algorithm`: None for that of its curve, or RS256. Raise InvalidValue with the reason."""
    if len(content) > MAX_BYTES:
        raise InvalidValue("key_too_long", field="key")
    try:
        key = _read(content, algorithm)
    except (ValueError, KeyError) as error:
        reason = str(error) if str(error).endswith(".") else "It is neither unencrypted PEM nor a private JWK."
        raise InvalidValue("key_unreadable", field="key", reason=reason) from error
    _check_strength(key.public_jwk())
    if key.kid in EXAMPLE_KEYS:
        raise InvalidValue("key_public", field="key", source=EXAMPLE_KEYS[key.kid])
    return key


def _read(content: bytes, algorithm: str | None) -> SigningKey:
    if not content.lstrip().startswith(b"{"):
        return SigningKey.from_pem(content, algorithm)
    members = read_json_object(content)
    named = members.get("alg", algorithm)
    if algorithm is not None and named != algorithm:
        raise ValueError(f"The JWK is for {named}.")
    return SigningKey.from_jwk(members if named is None else members | {"alg": named})


def _check_strength(public: dict[str, str]) -> None:
    if public["kty"] != "RSA":
        return
    bits = int.from_bytes(decode_base64url(public["n"])).bit_length()
    if bits not in RSA_BITS:
        raise InvalidValue("key_size_out_of_range", field="key", bits=bits, minimum=RSA_BITS[0], maximum=RSA_BITS[-1])
    if int.from_bytes(decode_base64url(public["e"])) < MIN_EXPONENT:
        raise InvalidValue("key_exponent_too_small", field="key", minimum=MIN_EXPONENT)
