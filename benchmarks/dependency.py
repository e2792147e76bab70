"""`make bench-dependency`: what the dependency costs, as ratios in one run, because machines differ and are noisy.

Each pair is measured in turns, a slice of one and a slice of the other, and the median of the slices counts.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fastapi import FastAPI, Security
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from mintmark import InvalidToken, Principal, ResourceServer
from mintmark.documents import Document
from mintmark.jose import Signer, SigningKey, decode_base64url
from mintmark.key_sets import RemoteKeySet

ISSUER, AUDIENCE = "https://auth.example", "orders"
SLICES = 15


def token_of(signer: Signer, number: int = 0, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER, "sub": str(number), "aud": AUDIENCE, "iat": now, "exp": now + 3600, "jti": str(number), "client_id": "c",
        "scope": "orders:read", "sub_profile": "user",
    }  # fmt: skip
    return signer.sign(claims | changes)


async def in_turns(one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Medians of the seconds that a slice of each takes."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(SLICES):
        for work, times in ((one, took[0]), (other, took[1])):
            started = time.perf_counter()
            await work()
            times.append(time.perf_counter() - started)
    return statistics.median(took[0]), statistics.median(took[1])


class Empty(SecurityBase):
    """A security dependency that does nothing: what FastAPI itself takes for having one."""

    def __init__(self, like: SecurityBase) -> None:
        self.model, self.scheme_name = like.model, "Empty"

    async def __call__(self, connection: HTTPConnection) -> None:
        return None


async def protected_route() -> list[tuple[str, float, str]]:
    """Requests a second of a protected route with a warm cache and 10,000 live tokens, over those of the same route without."""
    key = SigningKey.generate()
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks={"keys": [key.public_jwk()]})
    app = FastAPI()

    @app.get("/open")
    async def opened() -> str:
        return "x"

    @app.get("/closed")
    async def closed(who: Annotated[Principal, auth.requires("orders:read")]) -> str:
        return "x"

    @app.get("/empty")
    async def empty(who: Annotated[None, Security(Empty(auth), scopes=["orders:read"])]) -> str:
        return "x"

    signer = Signer(key)
    headers = [[(b"authorization", f"Bearer {token_of(signer, number)}".encode())] for number in range(10_000)]
    place = 0

    async def ask(path: str, count: int) -> None:
        nonlocal place
        for _ in range(count):
            place = (place + 1) % len(headers)
            await call(app, path, headers[place])

    await ask("/closed", len(headers))
    plain, guarded = await in_turns(lambda: ask("/open", 1000), lambda: ask("/closed", 1000))
    plain_again, nothing = await in_turns(lambda: ask("/open", 1000), lambda: ask("/empty", 1000))
    return [
        ("protected route, warm cache, 10,000 tokens / the same route open (requests a second)", plain / guarded, ">= 0.95"),
        ("a route with a dependency that does nothing / the same route open", plain_again / nothing, ""),
    ]


async def call(app: FastAPI, path: str, headers: list[tuple[bytes, bytes]]) -> None:
    """One request, without a client's own cost."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    await app(scope, receive, send)


async def first_verification(algorithm: str) -> tuple[str, float, str]:
    """One verification that remembers nothing, over the raw signature verification and the JSON parsing of the same bytes."""
    key = SigningKey.generate(algorithm)
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks={"keys": [key.public_jwk()]}, token_cache=0)
    tokens = [token_of(Signer(key), number) for number in range(200)]
    public: Any = serialization.load_pem_private_key(key.to_pem(), None).public_key()

    async def raw() -> None:
        for token in tokens:
            head, payload, signature = token.split(".")
            signed, mac = f"{head}.{payload}".encode(), decode_base64url(signature)
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(mac, signed, padding.PKCS1v15(), hashes.SHA256())
            else:
                r, s = int.from_bytes(mac[:32], "big"), int.from_bytes(mac[32:], "big")
                public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
            json.loads(decode_base64url(head))
            json.loads(decode_base64url(payload))

    async def whole() -> None:
        for token in tokens:
            await auth.verify(token)

    least, ours = await in_turns(raw, whole)
    return f"first verification, {algorithm} / raw signature and JSON", ours / least, "<= 1.15"


async def unknown_kids() -> tuple[str, float, str]:
    """Fetches that 10,000 tokens with unknown kids cause."""
    fetches = 0
    key, stranger = SigningKey.generate(), SigningKey.generate()

    async def source() -> Document:
        nonlocal fetches
        fetches += 1
        return Document({"keys": [key.public_jwk()]}, None)

    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=RemoteKeySet(source))
    await auth.verify(token_of(Signer(key)))
    for number in range(10_000):
        stranger.kid = f"unknown-{number}"
        try:
            await auth.verify(token_of(Signer(stranger)))
        except InvalidToken:
            continue
    return "fetches caused by 10,000 tokens with unknown kids, after the first", float(fetches - 1), "<= 1"


def imports() -> tuple[str, float, str]:
    """Milliseconds that `import mintmark` takes more than `import fastapi`, each in processes of its own."""

    def seconds(module: str) -> float:
        script = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
        runs = [float(subprocess.check_output([sys.executable, "-c", script])) for _ in range(7)]
        return statistics.median(runs)

    return "import mintmark, more than import fastapi (ms)", (seconds("fastapi, mintmark") - seconds("fastapi")) * 1000, "< 150"


async def main() -> list[tuple[str, float, str]]:
    return [
        *await protected_route(),
        await first_verification("ES256"),
        await first_verification("RS256"),
        await unknown_kids(),
        imports(),
    ]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    rows = asyncio.run(main())
    if as_json:
        print(json.dumps([{"what": what, "measured": round(value, 3), "target": target} for what, value, target in rows]))
    else:
        print(f"{'measured':>10}  {'target':>8}  what   (Python {sys.version.split()[0]}, httpx2 {httpx2.__version__})")
        for what, value, target in rows:
            print(f"{value:>10.3f}  {target:>8}  {what}")
