"""A process that was stopped, or whose database does not answer, issues tokens that are as old as what it knows."""

import asyncio
import base64
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from authmint_service.administration import update_client
from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.database import Database
from tests.actors import OPERATOR
from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Connection
from tests.faults.proxy import Network, Proxy
from tests.faults.servers import AUDIENCES, site
from tests.faults.test_database_faults import behind

pytestmark = [pytest.mark.anyio, pytest.mark.process, pytest.mark.xdist_group("faults-untimed"), pytest.mark.timeout(110)]

SECRET = new_client_secret()
SCOPES = ("orders:read", "orders:write")


async def add_robot(database: Database) -> None:
    await database.execute("DELETE FROM authmint.clients WHERE client_id = 'robot'")
    robot = Client(
        client_id="robot", name="robot", confidential=True, grants=frozenset({"client_credentials"}), scopes=frozenset(SCOPES),
        resources=tuple(AUDIENCES), default_resources=("orders",), secret_hashes=(secret_hash(SECRET),),
    )  # fmt: skip
    await ClientStore(database).add(robot, time.time(), actor=OPERATOR)


async def take_a_scope(database: Database) -> int:
    """Take a scope from the client, and return the n of the change."""
    await update_client(database, "robot", {"scopes": frozenset(SCOPES[:1])}, time.time(), actor=OPERATOR)
    n: int = await database.fetch_value("SELECT max(n) FROM authmint.changes")
    return n


async def new_token(port: int) -> dict[str, Any]:
    """Return the claims of a new token."""
    connection = Connection(port)
    try:
        form = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": SECRET}
        answer = await connection.ask("POST", "/token", form)
    finally:
        connection.close()
    assert 200 == answer.status, answer
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(answer.members["access_token"].split(".")[1] + "=="))
    assert abs(claims["exp"] - time.time() - answer.members["expires_in"]) < 5
    return claims


async def test_a_process_that_was_stopped_asks_before_it_issues_a_token(database: DatabaseForTests, tmp_path: Path) -> None:
    with site(tmp_path, database.dsn(), count=1) as found:
        (server,) = found.servers
        async with (own := Database(size=1)).open(database.dsn()):
            await add_robot(own)
            assert " ".join(SCOPES) == (await new_token(server.port))["scope"]
            server.running.process.send_signal(signal.SIGSTOP)
            try:
                n = await take_a_scope(own)
                asked = asyncio.create_task(new_token(server.port))
                await asyncio.sleep(2)
            finally:
                server.running.process.send_signal(signal.SIGCONT)
            claims = await asked
    assert (SCOPES[0], True) == (claims["scope"], claims["epoch"] >= n)


async def test_a_process_whose_database_does_not_answer_issues_tokens_that_are_as_old_as_what_it_knows(
    database: DatabaseForTests, tmp_path: Path
) -> None:
    async with (
        Proxy(database.port) as proxy, (own := Database(size=1)).open(database.dsn()),
        behind(proxy, database, tmp_path) as found,
    ):  # fmt: skip
        await add_robot(own)
        (port,) = found.ports
        before = await new_token(port)
        proxy.network, stuck_at = Network.BLACK_HOLE, time.time()
        n = await take_a_scope(own)
        await asyncio.sleep(1)
        claims = await new_token(port)
        # It has the scope still, so its epoch has to be below the entry, and its life is counted from what was known.
        assert (" ".join(SCOPES), True) == (claims["scope"], claims["epoch"] < n)
        assert before["iat"] <= claims["iat"] <= stuck_at
        proxy.network = Network.GOOD
        async with asyncio.timeout(20):
            while (claims := await new_token(port))["epoch"] < n:
                await asyncio.sleep(0.2)
        assert SCOPES[0] == claims["scope"]
