"""Changes that another process makes are seen by every process within two seconds, under load."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys import RotationPolicy, SigningKeyStore
from tests.actors import OPERATOR
from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Connection
from tests.faults.servers import AUDIENCES, ENCRYPTION_KEYS, Site, site

pytestmark = [pytest.mark.anyio, pytest.mark.process, pytest.mark.xdist_group("faults-timed")]

T = TypeVar("T")
MAX_SECONDS = 2.0
AT_ONCE = 10
POLICY = RotationPolicy(algorithms=("ES256",), period=30 * 86_400, token_lifetime=300, rsa_bits=2048)


class Changes:
    """Makes changes in this process, and waits until each server shows them."""

    def __init__(self, found: Site, database: Database) -> None:
        self._ports, self._secret = found.ports, new_client_secret()
        self._clients = ClientStore(database)
        self._keys = SigningKeyStore(database, SecretKeys.parse(ENCRYPTION_KEYS, "key"))
        self.seconds: list[float] = []
        self.issued = self.undone = 0

    async def add(self, client_id: str) -> None:
        client = Client(
            client_id=client_id, name=client_id, confidential=True, grants=frozenset({"client_credentials"}),
            scopes=frozenset(), resources=tuple(AUDIENCES), default_resources=("orders",),
            secret_hashes=(secret_hash(self._secret),),
        )  # fmt: skip
        await self._make(lambda: self._clients.add(client, time.time(), actor=OPERATOR))

    async def switch_client(self, client_id: str, times: int) -> None:
        await self.add(client_id)
        await self._wait(lambda connection: self._token_status(connection, client_id), 200)
        for number in range(times):
            change = self._clients.enable if number % 2 else self._clients.disable
            await self._make(partial(change, client_id, time.time(), actor=OPERATOR))
            await self._wait(lambda connection: self._token_status(connection, client_id), 200 if number % 2 else 401)

    async def announce_and_revoke_keys(self, times: int) -> None:
        for _ in range(times // 2):
            kid, _ = await self._make(lambda: self._keys.announce_new(POLICY, time.time(), actor=OPERATOR))
            await self._wait(partial(self._publishes, kid=kid), expected=True)
            await self._make(partial(self._keys.revoke, kid, time.time(), actor=OPERATOR))
            await self._wait(partial(self._publishes, kid=kid), expected=False)

    async def _make(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change, and make it again if this process was too slow for its turn."""
        while True:
            try:
                return await change()
            except DatabaseUnavailable:
                self.undone += 1
                assert self.undone < 100

    async def load(self, port: int) -> None:
        """Ask for tokens until cancelled."""
        connection = Connection(port)
        while True:
            assert 200 == await self._token_status(connection, "steady")
            self.issued += 1

    async def _token_status(self, connection: Connection, client_id: str) -> int:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": self._secret}
        return (await connection.ask("POST", "/token", form)).status

    async def _publishes(self, connection: Connection, kid: str) -> bool:
        answer = await connection.ask("GET", "/.well-known/jwks.json")
        return kid in {key["kid"] for key in answer.members["keys"]}

    async def _wait(self, ask: Callable[[Connection], Awaitable[object]], expected: object) -> None:
        began = time.monotonic()

        async def until_seen(port: int) -> None:
            connection = Connection(port)
            while await ask(connection) != expected:
                assert time.monotonic() - began < 10 * MAX_SECONDS
                await asyncio.sleep(0.02)
            connection.close()

        await asyncio.gather(*map(until_seen, self._ports))
        self.seconds.append(time.monotonic() - began)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("changes", "load"),
    [pytest.param(22, 1, marks=pytest.mark.slow), pytest.param(1000, 8, marks=[pytest.mark.long, pytest.mark.alone])],
)
async def test_changes_under_load_are_seen_by_every_process_within_two_seconds(
    database: DatabaseForTests, tmp_path: Path, changes: int, load: int
) -> None:
    with site(tmp_path, database.dsn(), count=3 if load > 1 else 2) as found:
        async with (own := Database(size=2 * AT_ONCE)).open(database.dsn()):
            made = Changes(found, own)
            await made.add("steady")
            loads = [asyncio.create_task(made.load(port)) for port in found.ports for _ in range(load)]
            each = changes // (AT_ONCE + 1)
            await asyncio.gather(
                *(made.switch_client(f"robot-{number}", each) for number in range(AT_ONCE)),
                made.announce_and_revoke_keys(changes - AT_ONCE * each),
            )
            assert not any(one.done() for one in loads)
            for one in loads:
                one.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
    seen = sorted(made.seconds)
    summary = {"changes": len(seen), "median": statistics.median(seen), "longest": seen[-1], "tokens beside": made.issued,
               "undone": made.undone}  # fmt: skip
    sys.stdout.write(json.dumps(summary) + "\n")
    assert changes <= len(seen)
    assert MAX_SECONDS > seen[-1]
