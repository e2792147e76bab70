"""An issuer of another maker, node-oidc-provider: with the profile of RFC 9068 its people are users, its services services."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI

from authmint import Principal, ResourceServer, ServiceAuth

pytestmark = [pytest.mark.clients, pytest.mark.anyio]

HERE = Path(__file__).resolve().parent
RESOURCE, SECRET = "https://orders.example", secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def provider() -> Iterator[dict[str, str]]:
    """The issuer's URL, and the access token of a person."""
    assert (HERE / "node_modules/oidc-provider").exists(), "Run `npm ci` in tests/clients first."
    program = subprocess.Popen(
        ["node", "node/oidc_provider.mjs"], cwd=HERE, env=os.environ | {"ROBOT_SECRET": SECRET}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    # It writes warnings for production first.
    line = next((line for line in program.stdout if line.startswith("{")), "")
    if not line:
        pytest.fail(program.communicate()[1])
    yield json.loads(line)
    program.communicate("")


def orders(issuer: str, **settings: Any) -> FastAPI:
    auth = ResourceServer(issuer=issuer, audience="orders", scopes={"orders:read": "Read"}, **settings)
    app = FastAPI()

    @app.get("/user")
    async def user(caller: Annotated[Principal, auth.user.requires("orders:read")]) -> str:
        return caller.sub

    @app.get("/service")
    async def service(caller: Annotated[Principal, auth.service.requires("orders:read")]) -> str:
        return caller.sub

    return app


async def statuses(provider: dict[str, str], who: str, app: FastAPI) -> dict[str, int]:
    """Call both routes, as the person or as the service."""
    robot = ServiceAuth(
        issuer=provider["issuer"], client_id="robot", client_secret=SECRET, audience=RESOURCE, scopes=["orders:read"],
        origins=[RESOURCE],
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {provider['person']}"} if who == "person" else {}
    auth = None if who == "person" else robot
    mounts = {"all://orders.example": httpx2.ASGITransport(app=app)}
    async with httpx2.AsyncClient(auth=auth, headers=headers, mounts=mounts, base_url=RESOURCE, trust_env=False) as http:
        return {path: (await http.get(path)).status_code for path in ("/user", "/service")}


async def test_a_person_is_a_user_and_a_service_is_a_service_with_the_profile(provider: dict[str, str]) -> None:
    app = orders(provider["issuer"], profile="rfc9068")
    assert {"/user": 200, "/service": 403} == await statuses(provider, "person", app)
    assert {"/user": 403, "/service": 200} == await statuses(provider, "robot", app)


async def test_without_the_profile_both_are_neither(provider: dict[str, str]) -> None:
    app = orders(provider["issuer"])
    for who in ("person", "robot"):
        assert {"/user": 403, "/service": 403} == await statuses(provider, who, app)
