"""`make bench`: what the token service does, each line beside its ceiling in the same run, as machines differ and are noisy.

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
from benchmarks.driver import Ask, again, cores, drive, on
from benchmarks.pgbench import CLIENT, rotations_a_second
from benchmarks.start import add_machine, seconds_to_first_token
from benchmarks.table import Row, write_table
from tests.e2e.conftest import ROOT, fetch, free_ports, running
from tests.faults.cluster import Cluster, own_cluster
from tests.faults.servers import SERVE, Site, add_clients, sign_in, site
from tests.faults.sign_in_load import ANNA, anna

CONNECTIONS, ROUNDS, SECONDS, PERMITS = 32, 5, 2.0, 1
LOGINS, PACE, PACED_SECONDS, SETTLED_SECONDS = 500, 200.0, 10.0, 2.0
TOKENS = 200
Line = Callable[[], float]


def request(method: str, path: str, form: Mapping[str, str] | None = None, authorization: str = "") -> bytes:
    content = urlencode(form or {}).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: auth.example", "Accept: */*"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Session:
    """One person's, refreshed again and again."""

    token: str

    def until(self, ends: float) -> Ask:
        """What is asked until the clock says `ends`."""

        def ask(answer: bytes | None) -> bytes | None:
            if answer is not None:
                self.token = json.loads(answer[answer.find(b"\r\n\r\n") + 4 :])["refresh_token"]
            if time.perf_counter() >= ends:
                return None
            form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": self.token}
            return request("POST", "/token", form)

        return ask


@dataclass
class Bench:
    """A cluster, a server of FastAPI's hello world and one of tokens, and what is asked of them."""

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
        return f"Basic {base64.b64encode(f'machine:{self.secret}'.encode()).decode()}"

    def rate(self, port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> float:
        """Answers a second, each of them 200."""
        return uvloop.run(drive([port], [again(requests, SECONDS) for _ in range(connections)])).rate

    def refreshes(self) -> float:
        ends = time.perf_counter() + SECONDS
        return uvloop.run(drive([self.port], [session.until(ends) for session in self.sessions])).rate

    def lines(self) -> dict[str, Line]:
        """What is measured in turns, round after round."""
        machine = request("POST", "/token", {"grant_type": "client_credentials"}, self.basic)
        tokens = [self._token() for _ in range(TOKENS)]
        metadata = request("GET", "/.well-known/oauth-authorization-server")
        asked = [request("POST", "/introspect", {"token": token}, self.basic) for token in tokens]
        return {
            "hello": lambda: self.rate(self.hello_port, [request("GET", "/")]),
            "client_credentials": lambda: self.rate(self.port, [machine]),
            "introspection": lambda: self.rate(self.port, asked),
            "jwks": lambda: self.rate(self.port, [request("GET", "/.well-known/jwks.json")]),
            "metadata": lambda: self.rate(self.port, [metadata]),
            "signing": signatures_a_second,
            "refresh": self.refreshes,
            "pgbench": self._rotations,
            "hashes": hashes_a_second,
            "password": lambda: self.rate(self.port, [request("POST", "/token", ANNA)], connections=4),
        }

    def _rotations(self) -> float:
        with on(cores()[0]):
            return rotations_a_second(self.cluster.port, self.cluster.data, clients=CONNECTIONS, seconds=int(SECONDS))

    def _token(self) -> str:
        form = {"grant_type": "client_credentials", "client_id": "machine", "client_secret": self.secret}
        status, text, _ = fetch(f"http://127.0.0.1:{self.port}/token", data=form)
        assert status == 200, text
        token: str = json.loads(text)["access_token"]
        return token

    def measure(self) -> None:
        lines = self.lines()
        for warmed in ("hello", "client_credentials", "introspection", "refresh"):
            lines[warmed]()
        for number in range(ROUNDS):
            print(f"Round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
            for name, line in lines.items():
                self.rates.setdefault(name, []).append(line())

    def ratio(self, one: str, other: str) -> float:
        """The median of the ratios within each round."""
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

    def _row(self, what: str, one: str, other: str, ceiling: str, target: float | None) -> Row:
        return Row(
            what, ceiling, f"{statistics.median(self.rates[one]):,.0f} / {statistics.median(self.rates[other]):,.0f} a second",
            self.ratio(one, other), target, is_least=True,
        )  # fmt: skip

    def beside_sign_ins(self) -> list[Row]:
        """The 99th percentile of refreshes at a pace, without and with a crowd that signs in."""
        print("Refreshes beside sign-ins …", file=sys.stderr, flush=True)
        alone, beside = uvloop.run(self._paced(0)), uvloop.run(self._paced(LOGINS))
        figures = f"{beside:.1f} / {alone:.1f} ms"
        return [
            Row(f"refresh p99 while {LOGINS} sign-ins queue", "the same without them", figures, beside / alone, 2.0),
            Row("the same, milliseconds", "", "", beside, 250.0),
        ]

    async def _paced(self, logins: int) -> float:
        crowd = [again([request("POST", "/token", ANNA)], PACED_SECONDS + 2 * SETTLED_SECONDS) for _ in range(logins)]
        queue = asyncio.create_task(drive([self.port], crowd, tolerant=True))
        # The queue is what is measured beside, and not the moment in which five hundred come at once.
        await asyncio.sleep(SETTLED_SECONDS)
        ends = time.perf_counter() + PACED_SECONDS
        asks = [session.until(ends) for session in self.sessions]
        load = await drive([self.port], asks, pause=len(asks) / PACE)
        await queue
        return load.slowest_of_hundred()

    def two_processes(self, folder: Path) -> list[Row]:
        """Two below one parent on both cores, and the driver where there is room, over one on one core."""
        print("A second process …", file=sys.stderr, flush=True)
        machine = request("POST", "/token", {"grant_type": "client_credentials"}, self.basic)
        one, two, driver = [], [], []
        with on(*cores()), site(folder, self.cluster.dsn(), count=1, command=(*SERVE, "--workers", "2"), **SETTINGS) as both:
            for _ in range(ROUNDS):
                with on(cores()[1]):
                    one.append(self.rate(self.port, [machine]))
                before, started = os.times(), time.perf_counter()
                two.append(self.rate(both.ports[0], [machine], connections=2 * CONNECTIONS))
                after = os.times()
                driver.append((after.user + after.system - before.user - before.system) / (time.perf_counter() - started))
        figures = f"{statistics.median(two):,.0f} / {statistics.median(one):,.0f} a second"
        ratio = statistics.median(mine / theirs for mine, theirs in zip(two, one, strict=True))
        left = 2 - statistics.median(driver)
        return [
            Row("client_credentials with a second process", "with one", figures, ratio, 1.8, is_least=True),
            Row("the same, for each core that the driver left", "", f"{left:.2f} cores left of 2", ratio / left * 2, None),
        ]

    def memory(self) -> Row:
        lines = Path(f"/proc/{self.found.servers[0].running.process.pid}/status").read_text().splitlines()
        kib = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
        return Row(f"memory of the process after all this, {PERMITS} permit (MiB)", "", "", kib / 1024, 120.0 + 19 * PERMITS)


SETTINGS = {
    "AUTHMINT_LOG_LEVEL": "INFO", "AUTHMINT_DATABASE_POOL_SIZE": str(CONNECTIONS),
    "AUTHMINT_PASSWORD_HASH_WORKERS": str(PERMITS),
    "AUTHMINT_PASSWORD_HASH_QUEUE": str(LOGINS),
}  # fmt: skip


def hashes_a_second() -> float:
    with on(cores()[0]):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hashes", str(SECONDS)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    return float(done.stdout)


def signatures_a_second() -> float:
    with on(cores()[0]):
        signer, count, started = JWTSigner(SigningKey.generate()), 0, time.perf_counter()
        claims = {"iss": "https://auth.example", "sub": "0" * 36, "aud": "orders", "iat": 1, "exp": 2, "jti": "0" * 22}
        while time.perf_counter() < started + SECONDS / 2:
            signer.sign(claims)
            count += 1
        return count / (time.perf_counter() - started)


async def _prepare(dsn: str) -> str:
    """The secret of the client `machine`."""
    await migrate(dsn)
    await add_clients(dsn)
    await anna(dsn)
    await sign_in(dsn, CONNECTIONS, client_id=CLIENT)
    return await add_machine(dsn)


def run() -> list[Row]:
    serving, asking = cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with on(asking):
            cluster = stack.enter_context(own_cluster(folder / "postgres"))
        secret = asyncio.run(_prepare(cluster.dsn()))
        (hello_port,) = free_ports(1)
        with on(serving):
            hello = stack.enter_context(running(*_hello(hello_port), cwd=ROOT, env=os.environ, output=folder / "hello"))
            found = stack.enter_context(site(folder, cluster.dsn(), count=1, **SETTINGS))
        hello.wait_for(f"http://127.0.0.1:{hello_port}/")
        stack.enter_context(on(asking))
        firsts = asyncio.run(sign_in(cluster.dsn(), CONNECTIONS))
        bench = Bench(cluster, found, hello_port, secret, [Session(found.sealer.seal(token)) for token, _, _ in firsts])
        bench.measure()
        rows = [*bench.rows(), *bench.beside_sign_ins()]
        (folder / "two").mkdir()
        rows += [*bench.two_processes(folder / "two"), bench.memory()]
        print("Starting …", file=sys.stderr, flush=True)
        return [*rows, Row("start: process to first token (s)", "", "", seconds_to_first_token(folder / "start"), 2.0)]


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
