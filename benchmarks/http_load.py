"""A server process on one core and a driver on another: requests a second of each way to protect a route, in turns."""

import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.ways import AUDIENCE, ISSUER, SCOPE
from mintmark.jose import SharedSecretKey, Signer, SigningKey

TOKENS, CONNECTIONS, SLICE, ROUNDS = 10_000, 32, 2_500, 15
WAYS = (
    "open", "nothing", "dependency", "middleware", "tutorial", "pyjwt",
    "orders-open", "orders-nothing", "orders-dependency", "orders-middleware",
)  # fmt: skip


def token_of(signer: Signer, number: int = 0) -> str:
    """A good token, unlike any other."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "sub": str(number), "aud": AUDIENCE, "iat": now, "exp": now + 3600, "jti": str(number), "client_id": "c",
        "scope": SCOPE, "sub_profile": "user",
    }  # fmt: skip
    return signer.sign(claims)


def requests_a_second() -> dict[str, list[float]]:
    """Of each way, slice by slice: the slices of one round stand at the same place."""
    key, secret = SigningKey.generate(), secrets.token_urlsafe(32)
    published = [token_of(Signer(key), number) for number in range(TOKENS)]
    shared = [token_of(Signer(SharedSecretKey(secret.encode())), number) for number in range(TOKENS)]
    requests = {way: [_request(way, token) for token in (shared if way == "tutorial" else published)] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        jwks = Path(folder) / "jwks.json"
        jwks.write_text(json.dumps({"keys": [key.public_jwk()]}))
        with _published(folder) as port, _server(jwks, f"http://127.0.0.1:{port}/jwks.json", secret) as address:
            return uvloop.run(_measure(address, requests))


async def _measure(address: tuple[str, int], requests: dict[str, list[bytes]]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {way: [] for way in requests}
    place = 0
    await _ask(address, requests["dependency"], end=b"}")
    for _ in range(ROUNDS):
        for way in requests:
            chosen = [requests[way][(place + number) % TOKENS] for number in range(SLICE)]
            started = time.perf_counter()
            await _ask(address, chosen, end=b"]" if way.startswith("orders-") else b"}")
            rates[way].append(SLICE / (time.perf_counter() - started))
        place += SLICE
    return rates


def _request(way: str, token: str) -> bytes:
    return f"GET /{way} HTTP/1.1\r\nHost: orders\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def _ask(address: tuple[str, int], requests: Sequence[bytes], *, end: bytes) -> None:
    """Sends them all, over so many connections, each of which waits for its answer: up to `end`, and 200."""

    async def worker(mine: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for request in mine:
            writer.write(request)
            answer = await reader.readuntil(end)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(worker(requests[first::CONNECTIONS]) for first in range(CONNECTIONS)))


@contextmanager
def _server(jwks: Path, url: str, secret: str) -> Iterator[tuple[str, int]]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("This benchmark needs two cores: one for the server and one for what asks it.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address: tuple[str, int] = free.getsockname()
    command = [
        sys.executable, "-m", "uvicorn", "benchmarks.ways:create", "--factory", "--app-dir",
        str(Path(__file__).parent.parent), "--port", str(address[1]), "--loop", "uvloop", "--http", "httptools",
        "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    environment = os.environ | {"BENCHMARK_JWKS": str(jwks), "BENCHMARK_JWKS_URL": url, "BENCHMARK_SECRET": secret}
    process = subprocess.Popen(command, env=environment)
    try:
        os.sched_setaffinity(process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)
        os.sched_setaffinity(0, cores)


def _wait_for(address: tuple[str, int], process: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        with suppress(OSError), socket.create_connection(address):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("The benchmark's server did not start.")


@contextmanager
def _published(folder: str) -> Iterator[int]:
    """Serves a folder, for those who fetch their keys."""

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
