"""A refresh beside each way to revoke its session: once the revoking call has returned, no token of it is live (T-2, T-4)."""

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from authmint_service.accounts import AccountStore
from authmint_service.clients import Client, ClientStore, new_client_secret, secret_hash
from authmint_service.database import Database
from authmint_service.passwords import PasswordHasher
from authmint_service.sessions import RefreshToken
from tests.actors import OPERATOR
from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Answer, Connection
from tests.faults.servers import AUDIENCES, Site, generation_of, sign_in, site

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]

T = TypeVar("T")
AT_ONCE = 8
WAYS = ("sign-out", "password change", "disabling", "reuse", "administrator")
PASSWORDS = ("seven green parrots in a boat", "eleven grey herons in a tree")


@dataclass
class Pair:
    """A session with a current token, the one before the one before it, and another session of the same person."""

    ancestor: str
    current: str
    access: str
    account_id: str
    session_id: str
    elsewhere: str
    """An access token of the other session."""


class Races:
    """Pairs of requests on the servers of one site."""

    def __init__(self, found: Site, dsn: str, chance: random.Random) -> None:
        self._site, self._dsn, self._chance = found, dsn, chance
        self._database = Database(size=4)
        self.refreshed = self.refused = 0

    async def run(self, pairs: int) -> dict[str, int]:
        """Race `pairs` pairs of each way. Return the number of live tokens that were left, by way."""
        hasher = PasswordHasher(workers=1, queue=1)
        password_hash = await hasher.hash(PASSWORDS[0])
        hasher.close()
        async with self._database.open(self._dsn):
            self._administrator = await self._make_administrator()
            self._bearer = await self._token_of_administrator()
            left = {}
            for way in WAYS:
                made = await sign_in(self._dsn, 2 * pairs, each_of=2, password_hash=password_hash)
                both = list(zip(made[::2], made[1::2], strict=True))
                shares = [both[number::AT_ONCE] for number in range(AT_ONCE)]
                left[way] = sum(await asyncio.gather(*(self._worker(way, share) for share in shares)))
        return left

    async def _worker(self, way: str, made: list[tuple[tuple[RefreshToken, str, str], tuple[RefreshToken, str, str]]]) -> int:
        connections = [Connection(self._chance.choice(self._site.ports)) for _ in range(3)]
        left = 0
        for (token, session_id, account_id), (other, _, _) in made:
            pair = await self._prepare(connections[0], token, other, session_id, account_id)
            left += await self._race(way, pair, connections)
        for connection in connections:
            connection.close()
        return left

    async def _prepare(
        self, connection: Connection, token: RefreshToken, other: RefreshToken, session_id: str, account_id: str
    ) -> Pair:
        ancestor = self._site.codec.encode(token)
        first = (await _redeem(connection, ancestor)).members
        second = (await _redeem(connection, first["refresh_token"], resource=AUDIENCES[1])).members
        elsewhere = (await _redeem(connection, self._site.codec.encode(other), resource=AUDIENCES[1])).members["access_token"]
        return Pair(ancestor, second["refresh_token"], second["access_token"], account_id, session_id, elsewhere)

    async def _race(self, way: str, pair: Pair, connections: list[Connection]) -> int:
        """Return the number of live tokens once the call that revokes the session has returned."""
        refreshes = [asyncio.create_task(self._delayed(_redeem(one, pair.current))) for one in connections[:2]]
        await self._delayed(self._end(way, pair, connections[2]))
        # Now: the token that a client has, and then those that it gets from requests that are still in progress.
        live = await self._is_live(connections[2], pair.current)
        answers = await asyncio.gather(*refreshes)
        children = {answer.members["refresh_token"] for answer in answers if answer.status == 200}
        assert {200, 400} >= {answer.status for answer in answers}
        assert len(children) <= 1
        self.refreshed += bool(children)
        self.refused += not children
        for child in children:
            live += await self._is_live(connections[2], child)
        return live

    async def _delayed(self, work: Awaitable[T]) -> T:
        await asyncio.sleep(self._chance.uniform(0, 0.004))
        return await work

    async def _is_live(self, connection: Connection, text: str) -> int:
        answer = await _redeem(connection, text)
        assert answer.status in {200, 400}
        return int(answer.status == 200)

    async def _end(self, way: str, pair: Pair, connection: Connection) -> None:
        ways: dict[str, Callable[[Pair, Connection], Awaitable[int]]] = {
            "sign-out": self._sign_out, "password change": self._change_password, "disabling": self._disable,
            "reuse": self._reuse, "administrator": self._administer,
        }  # fmt: skip
        expected = {"reuse": 400, "password change": 200}.get(way, 204)
        assert (way, expected) == (way, await ways[way](pair, connection))

    async def _sign_out(self, pair: Pair, connection: Connection) -> int:
        return (await connection.ask("DELETE", "/account/v1/sessions/current", bearer=pair.access)).status

    async def _change_password(self, pair: Pair, connection: Connection) -> int:
        form = {"current_password": PASSWORDS[0], "new_password": PASSWORDS[1]}
        while True:
            answer = await connection.ask("PUT", "/account/v1/password", form, bearer=pair.elsewhere)
            if answer.status != 503:
                return answer.status
            await asyncio.sleep(float(answer.headers["retry-after"]))

    async def _disable(self, pair: Pair, _: Connection) -> int:
        await AccountStore(self._database).disable(pair.account_id, time.time(), actor=OPERATOR)
        return 204

    async def _reuse(self, pair: Pair, connection: Connection) -> int:
        return (await _redeem(connection, pair.ancestor)).status

    async def _administer(self, pair: Pair, connection: Connection) -> int:
        path = f"/admin/v1/accounts/{pair.account_id}/sessions/{pair.session_id}"
        status = (await connection.ask("DELETE", path, bearer=self._bearer)).status
        if status == 401:
            # Ten thousand pairs take longer than an access token lives.
            self._bearer = await self._token_of_administrator()
            status = (await connection.ask("DELETE", path, bearer=self._bearer)).status
        return status

    async def _make_administrator(self) -> dict[str, str]:
        """What it authenticates with."""
        secret, name = new_client_secret(), f"administrator-{secrets.token_hex(4)}"
        client = Client(
            client_id=name, name=name, confidential=True, grants=frozenset({"client_credentials"}),
            scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}),
            resources=(AUDIENCES[1],), default_resources=(AUDIENCES[1],),
            secret_hashes=(secret_hash(secret),),
        )  # fmt: skip
        await ClientStore(self._database).add(client, 0, actor=OPERATOR)
        return {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}

    async def _token_of_administrator(self) -> str:
        connection = Connection(self._site.ports[0])
        token: str = (await connection.ask("POST", "/token", self._administrator)).members["access_token"]
        connection.close()
        return token


async def _redeem(connection: Connection, text: str, **more: str) -> Answer:
    form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": text, **more}
    return await connection.ask("POST", "/token", form)


async def race(found: Site, dsn: str, pairs: int) -> None:
    seed = random.randrange(2**32)
    races = Races(found, dsn, random.Random(seed))
    left = await races.run(pairs)
    results = {
        "pairs_of_each": pairs,
        "live_tokens_left": left,
        "refresh_was_first": races.refreshed,
        "end_was_first": races.refused,
    }
    sys.stdout.write(json.dumps(results | {"seed": seed}) + "\n")
    assert dict.fromkeys(WAYS, 0) == left
    # Both orders have come up, so that the race was one.
    assert races.refreshed > 0 < races.refused


async def share(found: Site, dsn: str, *, tokens: int, uses: int) -> None:
    made = await sign_in(dsn, tokens)
    connections = [Connection(found.ports[number % 2]) for number in range(uses)]
    children = 0
    for token, _, _ in made:
        answers = await asyncio.gather(*(_redeem(one, found.codec.encode(token)) for one in connections))
        assert {200} == {answer.status for answer in answers}
        (child,) = {answer.members["refresh_token"] for answer in answers}
        assert 1 == generation_of(child)
        children += 1
    for connection in connections:
        connection.close()
    database = Database(size=1)
    async with database.open(dsn):
        statement = "SELECT count(*) FROM authmint.sessions WHERE handle = ANY($1) AND generation = 1 AND revoked_at IS NULL"
        assert tokens == await database.fetch_value(statement, [token.handle for token, _, _ in made])
    sys.stdout.write(json.dumps({"tokens": tokens, "uses_of_each": uses, "live_children": children}) + "\n")


@pytest.fixture(scope="module")
def found(database: DatabaseForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("races"), database.dsn()) as made:
        yield made


@pytest.mark.timeout(120)
def test_a_refresh_beside_the_end_of_its_session_leaves_no_live_token_at_two_processes(
    found: Site, database: DatabaseForTests
) -> None:
    asyncio.run(race(found, database.dsn(), pairs=30))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_refreshes_beside_each_way_to_end_a_session_leave_no_live_token(
    found: Site, database: DatabaseForTests
) -> None:
    asyncio.run(race(found, database.dsn(), pairs=10_000))


@pytest.mark.timeout(120)
def test_a_token_that_is_used_ten_times_at_once_has_one_live_child(found: Site, database: DatabaseForTests) -> None:
    asyncio.run(share(found, database.dsn(), tokens=50, uses=10))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_each_of_a_thousand_tokens_that_are_used_ten_times_at_once_has_one_live_child(
    found: Site, database: DatabaseForTests
) -> None:
    asyncio.run(share(found, database.dsn(), tokens=1000, uses=10))
