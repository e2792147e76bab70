"""Compact JWS (RFC 7515) and its keys (RFC 7517): the only package that imports python-jose.

Only that library's keys are used, never its parser, which lets through unknown `crit`, repeated members, other spellings of one
signature and more. Callers parse first (`Parser`), choose one key by `kid`, and then verify with it.
"""

from authmint.jose.encoding import decode_base64url, encode_base64url, read_json_object
from authmint.jose.keys import ALGORITHMS, SharedSecretKey, SigningKey, VerifyingKey, thumbprint
from authmint.jose.parser import ACCESS_TOKEN_TYPES, CompactJWS, Header, Parser, read_payload
from authmint.jose.signer import JWSWriter, JWTSigner
from authmint.jose.verifier import Expectations, verify_claims

__all__ = [
    "ACCESS_TOKEN_TYPES",
    "ALGORITHMS",
    "CompactJWS",
    "Expectations",
    "Header",
    "JWSWriter",
    "JWTSigner",
    "Parser",
    "SharedSecretKey",
    "SigningKey",
    "VerifyingKey",
    "decode_base64url",
    "encode_base64url",
    "read_json_object",
    "read_payload",
    "thumbprint",
    "verify_claims",
]
