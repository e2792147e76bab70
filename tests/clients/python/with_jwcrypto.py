"""jwcrypto: the audience is one of the claims to check."""

import json

import httpx
from given import given, validate
from jwcrypto.common import JWException
from jwcrypto.jwk import JWKSet
from jwcrypto.jwt import JWT

keys = JWKSet.from_json(httpx.get(f"{given['issuer']}/.well-known/jwks.json").text)


def verify(token: str) -> str:
    expected = {"iss": given["issuer"], "aud": "orders", "exp": None, "sub": None}
    found = JWT(jwt=token, key=keys, algs=["ES256"], check_claims=expected)
    if json.loads(found.header).get("typ") != "at+jwt":
        raise JWException("not an access token")
    return json.loads(found.claims)["sub"]


validate(verify, JWException)
