"""The orders example: which caller may do what, and the responses to bad input."""

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from tests.library.conftest import ISSUER, Issuer

pytestmark = pytest.mark.anyio

PAGE = "https://page.example"


@pytest.fixture(scope="module")
def orders(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    jwks: Path = tmp_path_factory.mktemp("orders") / "jwks.json"
    jwks.write_text(json.dumps(issuer.jwks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORDERS_ISSUER", ISSUER)
        patch.setenv("ORDERS_JWKS_FILE", str(jwks))
        patch.setenv("ORDERS_CORS_ORIGINS", f"{PAGE} https://other.example")
        # The module reads its settings when it is imported, and another test may have imported it already.
        patch.delitem(sys.modules, "orders.app", raising=False)
        yield importlib.import_module("orders.app").create_app()


async def send(app: FastAPI, method: str, token: str, content: bytes | None = None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="https://orders.example") as http:
        return await http.request(method, "/orders", content=content, headers=headers)


def token_of(issuer: Issuer, **changes: Any) -> str:
    import time

    now = int(time.time())
    return issuer.token(iat=now, exp=now + 60, **changes)


async def test_orders_are_the_callers_own(orders: FastAPI, issuer: Issuer) -> None:
    scope = "orders:read orders:write"
    alice, bob = (token_of(issuer, sub=sub, scope=scope) for sub in ("alice", "bob"))
    assert 201 == (await send(orders, "POST", alice, b'{"item": "tea", "quantity": 2}')).status_code
    await asyncio.sleep(0)
    assert [{"item": "tea", "quantity": 2, "id": 1}] == (await send(orders, "GET", alice)).json()
    assert [] == (await send(orders, "GET", bob)).json()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[" * 100_000, b"\xff", b"null", b"[]", b'"x"', b"{}", b'{"item": ""}', b'{"item": 1}', b'{"item": NaN}',
        b'{"item": "x", "quantity": NaN}', b'{"item": "x", "quantity": 1e999}', b'{"item": "x", "quantity": Infinity}',
        b'{"item": "x", "quantity": 0}', b'{"item": "\\ud800"}', b'{"item": "x", "canary\\ud800": 1}',
        b'{"item": "' + b"a" * 101 + b'"}', b'{"item": "x", "quantity": 1' + b"0" * 5000 + b"}",
    ],
)  # fmt: skip
async def test_a_bad_order_is_refused_without_an_echo_or_a_5xx(orders: FastAPI, issuer: Issuer, content: bytes) -> None:
    answer = await send(orders, "POST", token_of(issuer, sub="carol", scope="orders:read orders:write"), content)
    assert answer.status_code in {400, 422}
    assert "canary" not in answer.text
    assert [] == (await send(orders, "GET", token_of(issuer, sub="carol"))).json()


@pytest.mark.parametrize(
    ("origin", "allowed"), [(PAGE, True), ("https://other.example", True), ("https://evil.example", False), ("null", False)]
)
async def test_pages_of_the_listed_origins_may_call_and_send_no_cookies(orders: FastAPI, origin: str, *, allowed: bool) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    transport = httpx2.ASGITransport(app=orders)
    async with httpx2.AsyncClient(transport=transport, base_url="https://orders.example") as http:
        for answer in (await http.options("/orders", headers=asked), await http.get("/orders", headers={"Origin": origin})):
            assert allowed == (answer.headers.get("access-control-allow-origin") == origin)
            assert "access-control-allow-credentials" not in answer.headers
