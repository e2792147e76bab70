"""How long a start takes: of the service until its first token, and of a command.

`python -m benchmarks.start` prints the second alone.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from authmint_service.clients import Client, ClientStore
from authmint_service.clients.client import new_client_secret, secret_hash
from authmint_service.database import Database
from authmint_service.embedded_postgres import embedded_postgres
from authmint_service.migrations import migrate
from tests.actors import OPERATOR
from tests.e2e.conftest import environment, fetch, free_ports, running
from tests.faults.servers import SERVE

TIMES = 5
PAIRS = 10
MAX_COMMAND_RATIO = 1.3
"""The limit of `command_start_ratio`."""
NEEDED_IMPORTS = "import typer, pydantic_settings, asyncpg"
COMMAND_IMPORTS = "from authmint_service.cli import main; main(['accounts', 'list', '--json'])"


async def add_service_client(dsn: str) -> str:
    """Add the client `robot` for client_credentials, and return its secret."""
    secret, database = new_client_secret(), Database(size=1)
    client = Client(
        client_id="robot", name="robot", confidential=True, grants=frozenset({"client_credentials"}),
        scopes=frozenset({"orders:read"}), resources=("orders",), default_resources=("orders",),
        secret_hashes=(secret_hash(secret),),
    )  # fmt: skip
    async with database.open(dsn):
        await ClientStore(database).add(client, 0, actor=OPERATOR)
    return secret


async def _set_up(data: Path) -> str:
    async with embedded_postgres(data) as dsn:
        await migrate(dsn)
        return await add_service_client(dsn)


def seconds_to_first_token(folder: Path) -> float:
    """Return the median of several starts. The first one, which creates the signing key, does not count."""
    folder.mkdir()
    secret, (port,) = asyncio.run(_set_up(folder / "data")), free_ports(1)
    env = environment(
        AUTHMINT_ENVIRONMENT="development", AUTHMINT_DATA_DIR=str(folder / "data"), AUTHMINT_PORT=str(port),
        AUTHMINT_LOG_LEVEL="WARNING",
    )  # fmt: skip
    took = sorted(_start(folder, env, port, secret) for _ in range(TIMES + 1))
    return took[TIMES // 2]


def _start(folder: Path, env: dict[str, str], port: int, secret: str) -> float:
    form = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": secret}
    started = time.perf_counter()
    with running(*SERVE, cwd=folder, env=env, output=folder / "said") as server:
        while True:
            assert server.process.poll() is None, server.said
            with suppress(OSError):
                status, text, _ = fetch(f"http://127.0.0.1:{port}/token", data=form)
                if status == 200 and json.loads(text)["access_token"]:
                    return time.perf_counter() - started
            time.sleep(0.01)


def command_start_ratio() -> float:
    """Return the CPU time of a start of `accounts list`, divided by that of the three imports that every command needs.

    The command is stopped by a setting that is wrong, after all imports and before the database. The two are started in turns.
    The result is the median of the ratios of the pairs.
    """
    env = environment(AUTHMINT_PORT="none")
    _cpu_seconds(NEEDED_IMPORTS, env), _cpu_seconds(COMMAND_IMPORTS, env)  # compile what is not compiled yet
    return median(_cpu_seconds(COMMAND_IMPORTS, env) / _cpu_seconds(NEEDED_IMPORTS, env) for _ in range(PAIRS))


def _cpu_seconds(program: str, env: dict[str, str]) -> float:
    """Return the user and system time of a Python process."""
    process = subprocess.Popen([sys.executable, "-c", program], env=env, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    ratio = command_start_ratio()
    print(f"CPU of a command's start, divided by that of the imports it needs: {ratio:.2f} (at most {MAX_COMMAND_RATIO})")
