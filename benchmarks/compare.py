"""`python -m benchmarks.compare ../other-checkout`: what a request costs the server here, as a ratio to another checkout.

Servers of both run at the same time, on one PostgreSQL in databases of their own, and are measured in turns: the CPU of the
server process for each request, which other programs on the computer change little. Single processes of one program differ by
several percent, so several are started of each. The other checkout needs its own virtual environment: `make venv` in it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import uvloop

from benchmarks.driver import drive as send
from benchmarks.driver import each
from benchmarks.service import Session, request
from tests.e2e.conftest import ROOT, environment, free_ports, running
from tests.faults.cluster import Cluster, own_cluster
from tests.faults.servers import ENCRYPTION_KEYS, REFRESH_KEYS

PROCESSES, ROUNDS, CONNECTIONS = 3, 12, 16
COUNTS = {"client_credentials": 400, "refresh": 400, "password": 12}
"""Requests of one turn."""
SCOPE = ("--scope", "orders:read", "--resource", "orders")


@dataclass
class Side:
    """One checkout, and a server of it."""

    name: str
    checkout: Path
    folder: Path
    cluster: Cluster
    microseconds: dict[str, list[float]] = field(default_factory=dict)
    """CPU of the server for each request, a value for each turn."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Make a database, and serve with a new process during the block."""
        database = uvloop.run(_create_database(self.cluster.dsn()))
        (self.port,) = free_ports(1)
        self.env = environment(
            AUTHMINT_ENVIRONMENT="development", AUTHMINT_ISSUER="https://auth.example",
            AUTHMINT_DATABASE_URL=self.cluster.dsn(database), AUTHMINT_PORT=str(self.port), AUTHMINT_LOG_LEVEL="WARNING",
            AUTHMINT_KEY_ENCRYPTION_KEYS=ENCRYPTION_KEYS, AUTHMINT_REFRESH_TOKEN_KEYS=REFRESH_KEYS,
            AUTHMINT_PASSWORD_HASH_WORKERS="1",
        )  # fmt: skip
        self._command("migrate")
        # One signs in again and again, which ends the oldest sessions; the other one's are refreshed.
        self.password, self.other_password = (
            json.loads(self._command("accounts", "add", name, "--json"))["password"] for name in ("anna", "ben")
        )
        self._command("clients", "add", "spa", "--public", *SCOPE)
        self.secret = json.loads(self._command("clients", "add", "robot", "--confidential", *SCOPE, "--json"))["client_secret"]
        with running(str(self._program), "serve", cwd=self.folder, env=self.env, output=self.folder / "log") as process:
            process.wait_for(f"http://127.0.0.1:{self.port}/readyz")
            self._pid = process.process.pid
            self._sessions = [Session(self._sign_in()) for _ in range(CONNECTIONS)]
            yield

    def turn(self, grant_type: str) -> None:
        """Send the requests of one turn, and note what each has cost."""
        count = COUNTS[grant_type]
        before = self._cpu()
        if grant_type == "refresh":
            uvloop.run(send([self.port], [_some(session, count // CONNECTIONS) for session in self._sessions]))
        else:
            form = {"grant_type": "password", "client_id": "spa", "username": "ben", "password": self.other_password}
            if grant_type == "client_credentials":
                form = {"grant_type": grant_type, "client_id": "robot", "client_secret": self.secret}
            uvloop.run(send([self.port], [each([request("POST", "/token", form)] * (count // 4)) for _ in range(4)]))
        self.microseconds.setdefault(grant_type, []).append((self._cpu() - before) / count)

    @property
    def _program(self) -> Path:
        return self.checkout / ".venv/bin/authmint-service"

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._program), *arguments], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True, check=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout

    def _sign_in(self) -> str:
        tokens: list[str] = []

        def remember(response: bytes | None) -> bytes | None:
            if response is not None:
                tokens.append(json.loads(response[response.find(b"\r\n\r\n") + 4 :])["refresh_token"])
                return None
            form = {"grant_type": "password", "client_id": "spa", "username": "anna", "password": self.password}
            return request("POST", "/token", form)

        uvloop.run(send([self.port], [remember]))
        return tokens[0]

    def _cpu(self) -> float:
        """Return the microseconds of CPU that all threads of the server have used."""
        threads = Path(f"/proc/{self._pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1000


def _some(session: Session, count: int) -> Callable[[bytes | None], bytes | None]:
    """Refresh a session `count` times; it remembers its last token."""
    remaining = iter(range(count))
    go_on = session.until(float("inf"))

    def next_request(response: bytes | None) -> bytes | None:
        following = go_on(response)
        return following if next(remaining, None) is not None else None

    return next_request


async def _create_database(server: str) -> str:
    connection = await asyncpg.connect(server)
    try:
        number = await connection.fetchval("SELECT count(*) FROM pg_database")
        await connection.execute(f"CREATE DATABASE compared_{number}")
        return f"compared_{number}"
    finally:
        await connection.close()


def measure(other: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Return for each grant the median microseconds of both, the median of the ratios of turns, and of their sums."""
    with own_cluster(folder / "cluster") as cluster:
        sides = [Side("here", ROOT, folder / "here", cluster), Side("other", other.resolve(), folder / "other", cluster)]
        for side in sides:
            side.folder.mkdir()
        for number in range(PROCESSES):
            print(f"Processes {number + 1} of {PROCESSES} …", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                for side in sides:
                    stack.enter_context(side.serving())
                for turn in range(ROUNDS + 1):
                    for grant_type in COUNTS:
                        # Who begins changes from turn to turn.
                        for side in sides if turn % 2 else reversed(sides):
                            side.turn(grant_type)
                for side in sides:
                    for turns in side.microseconds.values():
                        # The first turn of a process warms it up.
                        del turns[number * ROUNDS]
    here, there = (side.microseconds for side in sides)
    return {
        grant_type: {
            "here": statistics.median(here[grant_type]),
            "other": statistics.median(there[grant_type]),
            "ratio": statistics.median(one / two for one, two in zip(here[grant_type], there[grant_type], strict=True)),
            "ratio_of_sums": sum(here[grant_type]) / sum(there[grant_type]),
        }
        for grant_type in COUNTS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="authmint-compare-") as folder:
        found = measure(options.other, Path(folder))
    if options.as_json:
        print(json.dumps(found, indent=1))
        return
    for grant_type, values in found.items():
        print(f"{grant_type:20} {values['here']:8.0f} µs / {values['other']:8.0f} µs, ratio {values['ratio']:.3f}, "
              f"of the sums {values['ratio_of_sums']:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
