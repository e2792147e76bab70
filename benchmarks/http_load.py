"""A server process on one core and a driver on another: requests a second of each way to protect a route, in turns."""

import json
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uvloop

from authmint.jose import JWTSigner, SharedSecretKey, SigningKey
from benchmarks.driver import cores, drive, each, pinned_to
from benchmarks.ways import AUDIENCE, ISSUER, SCOPE
from tests.e2e.conftest import ROOT, free_ports, running

TOKENS, CONNECTIONS, SLICE, ROUNDS = 10_000, 32, 2_500, 15
WAYS = (
    "open", "nothing", "dependency", "middleware", "tutorial", "pyjwt",
    "orders-open", "orders-nothing", "orders-dependency", "orders-middleware",
)  # fmt: skip


def token_of(signer: JWTSigner, number: int = 0) -> str:
    """Return a valid token, distinct from all others."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "sub": str(number), "aud": AUDIENCE, "iat": now, "exp": now + 3600, "jti": str(number), "client_id": "c",
        "scope": SCOPE, "sub_profile": "user",
    }  # fmt: skip
    return signer.sign(claims)


def requests_a_second() -> dict[str, list[float]]:
    """Return the rates of each way, slice by slice: the slices of one round have the same index."""
    key, secret = SigningKey.generate(), secrets.token_urlsafe(32)
    published = [token_of(JWTSigner(key), number) for number in range(TOKENS)]
    shared = [token_of(JWTSigner(SharedSecretKey(secret.encode())), number) for number in range(TOKENS)]
    requests = {way: [_request(way, token) for token in (shared if way == "tutorial" else published)] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        jwks = Path(folder) / "jwks.json"
        jwks.write_text(json.dumps({"keys": [key.public_jwk()]}))
        with _published(folder) as port, _server(jwks, f"http://127.0.0.1:{port}/jwks.json", secret) as server_port:
            return uvloop.run(_measure(server_port, requests))


async def _measure(port: int, requests: dict[str, list[bytes]]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {way: [] for way in requests}
    offset = 0
    await drive([port], [each(requests["dependency"])])
    for _ in range(ROUNDS):
        for way in requests:
            chosen = [requests[way][(offset + number) % TOKENS] for number in range(SLICE)]
            load = await drive([port], [each(chosen[first::CONNECTIONS]) for first in range(CONNECTIONS)])
            rates[way].append(load.rate)
        offset += SLICE
    return rates


def _request(way: str, token: str) -> bytes:
    return f"GET /{way} HTTP/1.1\r\nHost: orders\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


@contextmanager
def _server(jwks: Path, url: str, secret: str) -> Iterator[int]:
    """Yield the port of a server on one core, while this process is on another."""
    server_core, driver_core = cores()
    (port,) = free_ports(1)
    command = [
        sys.executable, "-m", "uvicorn", "benchmarks.ways:create", "--factory", "--port", str(port), "--loop", "uvloop",
        "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    environment = os.environ | {"BENCHMARK_JWKS": str(jwks), "BENCHMARK_JWKS_URL": url, "BENCHMARK_SECRET": secret}
    with ExitStack() as stack:
        with pinned_to(server_core):
            started = stack.enter_context(running(*command, cwd=ROOT, env=environment, output=jwks.with_name("server")))
        started.wait_for(f"http://127.0.0.1:{port}/open")
        stack.enter_context(pinned_to(driver_core))
        yield port


@contextmanager
def _published(folder: str) -> Iterator[int]:
    """Serve a folder over HTTP, for verifiers that fetch their keys."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    for way, rates in requests_a_second().items():
        print(f"{way:18} {statistics.median(rates):8.0f}")
