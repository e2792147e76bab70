"""`authmint` by itself: in an empty environment it brings nothing of the server, and the orders example runs with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, create_venv, uv_pip

SERVER_ONLY = ("authmint_service", "asyncpg", "passlib", "alembic", "sqlalchemy", "uvicorn")

SCRIPT = """
import asyncio, importlib.util, json, sys, time
import httpx2
from authmint.jose import JWTSigner, SigningKey

found = [name for name in sys.argv[1].split(",") if importlib.util.find_spec(name)]
key = SigningKey.generate()
with open("jwks.json", "w") as file:
    json.dump({"keys": [key.public_jwk()]}, file)
import os
os.environ |= {"ORDERS_JWKS_FILE": "jwks.json", "ORDERS_ISSUER": "https://auth.example"}
from orders.app import app

def token(scope):
    now = int(time.time())
    return JWTSigner(key).sign({"iss": "https://auth.example", "sub": "1", "aud": "orders", "iat": now, "exp": now + 60,
                             "jti": "1", "client_id": "c", "scope": scope, "sub_profile": "user"})

async def main():
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://orders.example") as http:
        def headers(scope):
            return {"Authorization": "Bearer " + token(scope)}
        answers = [
            await http.get("/orders"),
            await http.post("/orders", json={"item": "tea"}, headers=headers("orders:read")),
            await http.post("/orders", json={"item": "tea"}, headers=headers("orders:write")),
            await http.get("/orders", headers=headers("orders:read")),
            await http.get("/openapi.json"),
        ]
    print(json.dumps({"found": found, "statuses": [one.status_code for one in answers], "orders": answers[3].json()}))

asyncio.run(main())
"""


@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.slow
def test_authmint_alone_brings_nothing_of_the_server_and_the_orders_example_runs_with_it(tmp_path: Path) -> None:
    python = create_venv(tmp_path / "environment")
    requirements = tmp_path / "requirements.txt"
    tool = [sys.executable, str(ROOT / "tools" / "requirements.py"), "authmint"]
    requirements.write_text(subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60).stdout)
    uv_pip("install", python, "--require-hashes", "-r", str(requirements))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT / "authmint", check=True
    )
    (wheel,) = tmp_path.glob("authmint-*.whl")
    uv_pip("install", python, "--no-deps", str(wheel))
    uv_pip("check", python)
    done = subprocess.run(
        [str(python), "-W", "error", "-c", SCRIPT, ",".join(SERVER_ONLY)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "examples" / "orders")}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    said = json.loads(done.stdout)
    assert {"found": [], "statuses": [401, 403, 201, 200, 200], "orders": [{"item": "tea", "quantity": 1, "id": 1}]} == said
