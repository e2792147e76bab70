"""`make bench`: the rates of the token service, each beside a baseline from the same run, as machines differ and are noisy.

One server process on one core; the driver and PostgreSQL on another. The table goes to docs/benchmarks.md.
"""

import argparse
import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from authmint.jose import JWTSigner, SigningKey
from authmint_service.migrations import migrate
from benchmarks.driver import NextRequest, cores, drive, pinned_to, repeat
from benchmarks.pgbench import CLIENT, rotations_a_second
from benchmarks.start import MAX_COMMAND_RATIO, add_service_client, command_start_ratio, seconds_to_first_token
from benchmarks.table import Row, write_table
from tests.e2e.conftest import ROOT, fetch, free_ports, running
from tests.faults.cluster import Cluster, own_cluster
from tests.faults.servers import SERVE, Site, add_clients, sign_in, site
from tests.faults.sign_in_load import ANNA, add_anna

CONNECTIONS, ROUNDS, SECONDS, SLOTS = 32, 5, 2.0, 1
LOGINS, PACE, PACED_SECONDS, SETTLED_SECONDS = 500, 200.0, 10.0, 2.0
TOKENS = 200
Measurement = Callable[[], float]


def request(method: str, path: str, form: Mapping[str, str] | None = None, authorization: str = "") -> bytes:
    content = urlencode(form or {}).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: auth.example", "Accept: */*"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Session:
    """A session that is refreshed again and again."""

    token: str

    def until(self, ends: float) -> NextRequest:
        """Send refreshes until the performance counter is at `ends`."""

        def next_request(response: bytes | None) -> bytes | None:
            if response is not None:
                self.token = json.loads(response[response.find(b"\r\n\r\n") + 4 :])["refresh_token"]
            if time.perf_counter() >= ends:
                return None
            form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": self.token}
            return request("POST", "/token", form)

        return next_request


@dataclass
class Bench:
    """A cluster, a server of FastAPI's hello world and a token service, and what is measured of them."""

    cluster: Cluster
    found: Site
    hello_port: int
    secret: str
    sessions: list[Session]
    rates: dict[str, list[float]] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.found.ports[0]

    @property
    def basic(self) -> str:
        return f"Basic {base64.b64encode(f'robot:{self.secret}'.encode()).decode()}"

    def rate(self, port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> float:
        """Return responses a second; each of them must be 200."""
        return uvloop.run(drive([port], [repeat(requests, SECONDS) for _ in range(connections)])).rate

    def refreshes(self) -> float:
        ends = time.perf_counter() + SECONDS
        return uvloop.run(drive([self.port], [session.until(ends) for session in self.sessions])).rate

    def measurements(self) -> dict[str, Measurement]:
        """Return what is measured in turns, round after round."""
        issue = request("POST", "/token", {"grant_type": "client_credentials"}, self.basic)
        tokens = [self._token() for _ in range(TOKENS)]
        metadata = request("GET", "/.well-known/oauth-authorization-server")
        introspect = [request("POST", "/introspect", {"token": token}, self.basic) for token in tokens]
        return {
            "hello": lambda: self.rate(self.hello_port, [request("GET", "/")]),
            "client_credentials": lambda: self.rate(self.port, [issue]),
            "introspection": lambda: self.rate(self.port, introspect),
            "jwks": lambda: self.rate(self.port, [request("GET", "/.well-known/jwks.json")]),
            "metadata": lambda: self.rate(self.port, [metadata]),
            "signing": signatures_a_second,
            "refresh": self.refreshes,
            "pgbench": self._rotations,
            "hashes": hashes_a_second,
            "password": lambda: self.rate(self.port, [request("POST", "/token", ANNA)], connections=4),
        }

    def _rotations(self) -> float:
        with pinned_to(cores()[0]):
            return rotations_a_second(self.cluster.port, self.cluster.data, clients=CONNECTIONS, seconds=int(SECONDS))

    def _token(self) -> str:
        form = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": self.secret}
        status, text, _ = fetch(f"http://127.0.0.1:{self.port}/token", data=form)
        assert status == 200, text
        token: str = json.loads(text)["access_token"]
        return token

    def measure(self) -> None:
        measurements = self.measurements()
        for warmed in ("hello", "client_credentials", "introspection", "refresh"):
            measurements[warmed]()
        for number in range(ROUNDS):
            print(f"Round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
            for name, measurement in measurements.items():
                self.rates.setdefault(name, []).append(measurement())

    def ratio(self, one: str, other: str) -> float:
        """Return the median of the ratios within each round."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.rates[one], self.rates[other], strict=True))

    def rows(self) -> list[Row]:
        return [
            self._row("client_credentials (ES256)", "client_credentials", "hello", "hello world", 0.65),
            self._row("the same", "client_credentials", "signing", "signatures alone", None),
            self._row("refresh, durable, 32 connections", "refresh", "pgbench", "pgbench, the same statement", 0.60),
            self._row("password grant", "password", "hashes", "hashes of the same pool", 0.95),
            self._row("introspection of a JWT", "introspection", "hello", "hello world", 0.60),
            self._row("JWKS", "jwks", "hello", "hello world", 0.90),
            self._row("metadata", "metadata", "hello", "hello world", 0.90),
        ]

    def _row(self, what: str, one: str, other: str, baseline: str, target: float | None) -> Row:
        return Row(
            what, baseline, f"{statistics.median(self.rates[one]):,.0f} / {statistics.median(self.rates[other]):,.0f} a second",
            self.ratio(one, other), target, is_minimum=True,
        )  # fmt: skip

    def beside_sign_ins(self) -> list[Row]:
        """Return the 99th percentile of refreshes at a pace, without and with concurrent sign-ins."""
        print("Refreshes beside sign-ins …", file=sys.stderr, flush=True)
        alone, beside = uvloop.run(self._paced(0)), uvloop.run(self._paced(LOGINS))
        values = f"{beside:.1f} / {alone:.1f} ms"
        return [
            Row(f"refresh p99 while {LOGINS} sign-ins queue", "the same without them", values, beside / alone, 2.0),
            Row("the same, milliseconds", "", "", beside, 250.0),
        ]

    async def _paced(self, logins: int) -> float:
        sign_ins = [repeat([request("POST", "/token", ANNA)], PACED_SECONDS + 2 * SETTLED_SECONDS) for _ in range(logins)]
        queue = asyncio.create_task(drive([self.port], sign_ins, tolerant=True))
        # The measurement begins when the queue is full, after the burst in which all sign-ins arrive.
        await asyncio.sleep(SETTLED_SECONDS)
        ends = time.perf_counter() + PACED_SECONDS
        refreshes = [session.until(ends) for session in self.sessions]
        load = await drive([self.port], refreshes, pause=len(refreshes) / PACE)
        await queue
        return load.p99()

    def two_processes(self, folder: Path) -> list[Row]:
        """Compare two processes below one parent, which share both cores with the driver, with one on one core."""
        print("A second process …", file=sys.stderr, flush=True)
        issue = request("POST", "/token", {"grant_type": "client_credentials"}, self.basic)
        one, two, driver = [], [], []
        with (
            pinned_to(*cores()),
            site(folder, self.cluster.dsn(), count=1, command=(*SERVE, "--workers", "2"), **SETTINGS) as both,
        ):
            for _ in range(ROUNDS):
                with pinned_to(cores()[1]):
                    one.append(self.rate(self.port, [issue]))
                before, started = os.times(), time.perf_counter()
                two.append(self.rate(both.ports[0], [issue], connections=2 * CONNECTIONS))
                after = os.times()
                driver.append((after.user + after.system - before.user - before.system) / (time.perf_counter() - started))
        values = f"{statistics.median(two):,.0f} / {statistics.median(one):,.0f} a second"
        ratio = statistics.median(mine / theirs for mine, theirs in zip(two, one, strict=True))
        left = 2 - statistics.median(driver)
        return [
            Row("client_credentials with a second process", "with one", values, ratio, 1.8, is_minimum=True),
            Row(
                "the same, for each core that the driver left unused", "", f"{left:.2f} cores left of 2", ratio / left * 2, None
            ),
        ]

    def memory(self) -> Row:
        lines = Path(f"/proc/{self.found.servers[0].running.process.pid}/status").read_text().splitlines()
        kib = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
        return Row(f"memory of the process after all this, {SLOTS} slot (MiB)", "", "", kib / 1024, 120.0 + 19 * SLOTS)


SETTINGS = {
    "AUTHMINT_LOG_LEVEL": "INFO", "AUTHMINT_DATABASE_POOL_SIZE": str(CONNECTIONS),
    "AUTHMINT_PASSWORD_HASH_WORKERS": str(SLOTS),
    "AUTHMINT_PASSWORD_HASH_QUEUE": str(LOGINS),
}  # fmt: skip


def hashes_a_second() -> float:
    with pinned_to(cores()[0]):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hashes", str(SECONDS)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    return float(done.stdout)


def signatures_a_second() -> float:
    with pinned_to(cores()[0]):
        signer, count, started = JWTSigner(SigningKey.generate()), 0, time.perf_counter()
        claims = {"iss": "https://auth.example", "sub": "0" * 36, "aud": "orders", "iat": 1, "exp": 2, "jti": "0" * 22}
        while time.perf_counter() < started + SECONDS / 2:
            signer.sign(claims)
            count += 1
        return count / (time.perf_counter() - started)


async def _prepare(dsn: str) -> str:
    """Prepare the database and return the secret of the client `robot`."""
    await migrate(dsn)
    await add_clients(dsn)
    await add_anna(dsn)
    await sign_in(dsn, CONNECTIONS, client_id=CLIENT)
    return await add_service_client(dsn)


def run() -> list[Row]:
    server_core, driver_core = cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with pinned_to(driver_core):
            cluster = stack.enter_context(own_cluster(folder / "postgres"))
        secret = asyncio.run(_prepare(cluster.dsn()))
        (hello_port,) = free_ports(1)
        with pinned_to(server_core):
            hello = stack.enter_context(running(*_hello(hello_port), cwd=ROOT, env=os.environ, output=folder / "hello"))
            found = stack.enter_context(site(folder, cluster.dsn(), count=1, command=SERVE, **SETTINGS))
        hello.wait_for(f"http://127.0.0.1:{hello_port}/")
        stack.enter_context(pinned_to(driver_core))
        firsts = asyncio.run(sign_in(cluster.dsn(), CONNECTIONS))
        bench = Bench(cluster, found, hello_port, secret, [Session(found.codec.encode(token)) for token, _, _ in firsts])
        bench.measure()
        rows = [*bench.rows(), *bench.beside_sign_ins()]
        (folder / "two").mkdir()
        rows += [*bench.two_processes(folder / "two"), bench.memory()]
        print("Starting …", file=sys.stderr, flush=True)
        rows.append(Row("start: process to first token (s)", "", "", seconds_to_first_token(folder / "start"), 2.0))
        imports = "CPU of importing typer, pydantic-settings and asyncpg"
        return [*rows, Row("start: CPU of `accounts list`", imports, "", command_start_ratio(), MAX_COMMAND_RATIO)]


def _hello(port: int) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", "benchmarks.hello:app", "--port", str(port), "--loop", "uvloop", "--http", "httptools",
        "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="for programs; docs/benchmarks.md is left as it is")
    chosen = arguments.parse_args()
    rows = run()
    if chosen.json:
        print(json.dumps([row.members() for row in rows]))
    else:
        write_table(rows, ROOT / "docs" / "benchmarks.md")
