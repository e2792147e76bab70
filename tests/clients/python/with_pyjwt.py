"""PyJWT: it does not look at `typ`, so the program does."""

import jwt
from given import given, validate

keys = jwt.PyJWKClient(f"{given['issuer']}/.well-known/jwks.json")


def verify(token: str) -> str:
    found = jwt.decode_complete(
        token, keys.get_signing_key_from_jwt(token), algorithms=["ES256"], issuer=given["issuer"], audience="orders"
    )
    if found["header"].get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("not an access token")
    return found["payload"]["sub"]


validate(verify, jwt.InvalidTokenError)
