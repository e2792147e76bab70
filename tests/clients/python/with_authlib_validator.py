"""Authlib's `JWTBearerTokenValidator` of RFC 9068, which checks `typ` too."""

import httpx
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from given import given, validate
from joserfc.jwk import KeySet


class Validator(JWTBearerTokenValidator):
    keys = KeySet.import_key_set(httpx.get(f"{given['issuer']}/.well-known/jwks.json").json())

    def get_jwks(self) -> KeySet:
        return self.keys


validator = Validator(issuer=given["issuer"], resource_server="orders")


def verify(token: str) -> str:
    found = validator.authenticate_token(token)
    validator.validate_token(found, [], None)
    return found["sub"]


validate(verify, InvalidTokenError)
