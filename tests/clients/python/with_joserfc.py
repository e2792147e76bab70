"""joserfc: it does not look at `typ`, so the program does."""

import httpx
from given import given, validate
from joserfc import jwt
from joserfc.errors import InvalidTokenError, JoseError
from joserfc.jwk import KeySet

keys = KeySet.import_key_set(httpx.get(f"{given['issuer']}/.well-known/jwks.json").json())
claims = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": given["issuer"]}, aud={"essential": True, "value": "orders"}, exp={"essential": True}
)


def verify(token: str) -> str:
    found = jwt.decode(token, keys, algorithms=["ES256"])
    if found.header.get("typ") != "at+jwt":
        raise InvalidTokenError("not an access token")
    claims.validate(found.claims)
    return found.claims["sub"]


validate(verify, JoseError)
