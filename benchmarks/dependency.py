"""`make bench-library`: what the library costs, as ratios in one run, because machines differ and are noisy.

Each pair is measured in turns, a slice of one and a slice of the other. The result is the median of the slices.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from authmint import InvalidToken, IssuerUnavailable, ResourceServer
from authmint.fetching import JSONDocument
from authmint.jose import JWTSigner, SigningKey, decode_base64url
from authmint.key_sets import RemoteKeySet
from benchmarks.http_load import requests_a_second, token_of
from benchmarks.ways import AUDIENCE, ISSUER

SLICES = 15

Row = tuple[str, float, str]
"""The name of a measurement, its value, and the target."""


async def in_turns(one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return the medians of the seconds that a slice of each takes."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(SLICES):
        for work, times in ((one, took[0]), (other, took[1])):
            started = time.perf_counter()
            await work()
            times.append(time.perf_counter() - started)
    return statistics.median(took[0]), statistics.median(took[1])


def routes() -> list[Row]:
    """Compare the requests a second of a route with 10,000 live tokens to those of the same route without protection."""
    rates = requests_a_second()
    ours, nothing = "protected by auth.requires(…)", "with a FastAPI security dependency that does nothing"
    middleware = "protected by ResourceServerMiddleware"
    small, real = "smallest route", "list of 20 orders"
    rows = (
        (f"{small} {ours}", "dependency", "open", ">= 0.95"),
        (f"{small} {nothing}", "nothing", "open", ""),
        (f"{small} {middleware}", "middleware", "open", ">= 0.95"),
        (f"{small} protected as FastAPI's tutorial does (PyJWT, HS256)", "tutorial", "open", ""),
        (f"{small} protected as PyJWT's documentation does (PyJWKClient, ES256)", "pyjwt", "open", ""),
        (f"{real} {ours}", "orders-dependency", "orders-open", ">= 0.95"),
        (f"{real} {nothing}", "orders-nothing", "orders-open", ""),
        (f"{real} {middleware}", "orders-middleware", "orders-open", ">= 0.95"),
    )
    return [(f"{what} / open", _ratio(rates[way], rates[like]), target) for what, way, like, target in rows]


def _ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios within each round: other load of the computer slows both sides of a round."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


async def first_verification(algorithm: str) -> Row:
    """Compare a verification without cache to the raw signature verification and the JSON parsing of the same bytes."""
    key = SigningKey.generate(algorithm)
    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks={"keys": [key.public_jwk()]}, cache_size=0)
    tokens = [token_of(JWTSigner(key), number) for number in range(200)]
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

    minimum, ours = await in_turns(raw, whole)
    return f"first verification, {algorithm} / raw signature and JSON", ours / minimum, "<= 1.15"


async def unknown_kids() -> Row:
    """Count the fetches that 10,000 tokens with unknown kids cause."""
    fetches = 0
    key, other = SigningKey.generate(), SigningKey.generate()

    async def source() -> JSONDocument:
        nonlocal fetches
        fetches += 1
        return JSONDocument({"keys": [key.public_jwk()]}, None)

    auth = ResourceServer(issuer=ISSUER, audience=AUDIENCE, key_set=RemoteKeySet(source))
    await auth.verify(token_of(JWTSigner(key)))
    for number in range(10_000):
        other.kid = f"unknown-{number}"
        try:
            await auth.verify(token_of(JWTSigner(other)))
        except (InvalidToken, IssuerUnavailable):
            continue
    return "fetches caused by 10,000 tokens with unknown kids, after the first", float(fetches - 1), "<= 1"


def imports() -> Row:
    """Measure the milliseconds that `import authmint` takes more than `import fastapi`, each in processes of its own."""

    def seconds(module: str) -> float:
        script = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
        runs = [float(subprocess.check_output([sys.executable, "-c", script])) for _ in range(7)]
        return statistics.median(runs)

    return "import authmint, more than import fastapi (ms)", (seconds("fastapi, authmint") - seconds("fastapi")) * 1000, "< 150"


def versions() -> str:
    """Return the versions of Python and of the packages, for a comparison on another computer."""
    packages = ("fastapi", "starlette", "uvicorn", "cryptography", "pyjwt")
    return ", ".join([f"Python {sys.version.split()[0]}", *(f"{name} {version(name)}" for name in packages)])


async def main() -> list[Row]:
    return [
        await first_verification("ES256"),
        await first_verification("RS256"),
        await unknown_kids(),
        imports(),
    ]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    rows = routes() + asyncio.run(main())
    if as_json:
        print(json.dumps([{"what": what, "measured": round(value, 3), "target": target} for what, value, target in rows]))
    else:
        print(f"{'measured':>10}  {'target':>8}  what   ({versions()})")
        for what, value, target in rows:
            print(f"{value:>10.3f}  {target:>8}  {what}")
