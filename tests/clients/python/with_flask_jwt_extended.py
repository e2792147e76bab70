"""Flask-JWT-Extended, with the published keys through PyJWT."""

from typing import Any

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, get_jwt_identity, jwt_required
from given import given, validate

app = Flask(__name__)
app.config |= {
    "JWT_ALGORITHM": "ES256",
    "JWT_DECODE_AUDIENCE": "orders",
    "JWT_DECODE_ISSUER": given["issuer"],
}
manager = JWTManager(app)
keys = jwt.PyJWKClient(f"{given['issuer']}/.well-known/jwks.json")


@manager.decode_key_loader
def find_key(header: dict[str, Any], claims: dict[str, Any]) -> Any:
    return keys.get_signing_key(header["kid"]).key


@app.get("/orders")
@jwt_required()
def orders() -> str:
    return get_jwt_identity()


def verify(token: str) -> str | None:
    answer = app.test_client().get("/orders", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401, 422), answer.text
    return answer.text if answer.status_code == 200 else None


validate(verify)
