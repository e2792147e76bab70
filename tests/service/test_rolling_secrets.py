"""New secret keys are rolled out under load, and rolled back: nobody is signed out, and a 503 succeeds at the next process."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest

from authmint_service.accounts import Account
from authmint_service.clients import Client
from authmint_service.processes import Processes
from tests.service.conftest import PASSWORD, Clock, Service, StartService, migrated_database
from tests.service.test_processes import BOTH, BOTH_ENCRYPTION, OLD, OLD_ENCRYPTION, beat, encryption_ids

pytestmark = pytest.mark.anyio

DAY = 86_400
PEOPLE = 3
MAX_ROUNDS = 20
PAUSE_SECONDS = 0.02
OLD_KEYS = {"refresh_token_keys": OLD, "key_encryption_keys": OLD_ENCRYPTION}
NEW_KEYS = {"refresh_token_keys": BOTH, "key_encryption_keys": BOTH_ENCRYPTION}


@pytest.fixture
async def at(server_dsn: str) -> AsyncIterator[str]:
    async with migrated_database(server_dsn) as dsn:
        yield dsn


class LoadBalancer:
    """Sends each request to any of the processes, and one that was answered with 503 to the next one."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.processes: list[Service] = []
        self.statuses: Counter[int] = Counter()
        self.key_ids: Counter[int] = Counter()
        self._under_way = 0
        self._is_open = asyncio.Event()
        self._is_open.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Let no request be under way during the block."""
        self._is_open.clear()
        while self._under_way:
            await asyncio.sleep(0.001)
        yield
        self._is_open.set()

    async def send(self, method: str, path: str, **options: object) -> httpx2.Response:
        await self._is_open.wait()
        self._under_way += 1
        try:
            return await self._try_each(method, path, **options)
        finally:
            self._under_way -= 1

    async def _try_each(self, method: str, path: str, **options: object) -> httpx2.Response:
        for _ in range(MAX_ROUNDS):
            for process in random.sample(self.processes, len(self.processes)):
                response = await process.http.request(method, path, **options)  # type: ignore[arg-type]  # as httpx2 has them
                self.statuses[response.status_code] += 1
                if response.status_code != 503:
                    return response
                assert response.headers["Retry-After"].isdigit()
            # The database may be slow on a busy computer.
            await asyncio.sleep(0.1)
        raise AssertionError(f"every process responds to {path} with 503")

    async def refresh_again_and_again(self, client: Client, account: Account, rounds: list[int], number: int) -> None:
        """Sign in once, then refresh for ever, and use each access token."""
        form = {"client_id": client.client_id}
        sign_in = {"grant_type": "password", "username": account.username, "password": PASSWORD}
        response = await self.send("POST", "/token", data={**form, **sign_in})
        while True:
            assert 200 == response.status_code, response.text
            tokens = response.json()
            self.key_ids[base64.urlsafe_b64decode(tokens["refresh_token"][5:9])[0]] += 1
            issued_at = self.clock.now
            profile = await self.send("GET", "/account/v1", headers={"Authorization": f"Bearer {tokens['access_token']}"})
            assert 200 == profile.status_code or issued_at != self.clock.now, profile.text
            rounds[number] += 1
            await asyncio.sleep(PAUSE_SECONDS)
            refreshing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            response = await self.send("POST", "/token", data={**form, **refreshing})


class RollOut:
    """Processes that are replaced one after another while people use them."""

    def __init__(self, at: str, start: StartService) -> None:
        self._at, self._start, self.clock = at, start, Clock()
        self.balancer = LoadBalancer(self.clock)
        self._people: list[asyncio.Task[None]] = []
        self._rounds: list[int] = []

    async def add(self, keys: dict[str, str]) -> Service:
        settings = {"signing_key_rotation_seconds": DAY, "trusted_proxies": None, **keys}
        service = await self._start(at=self._at, clock=self.clock, **settings)
        self.balancer.processes.append(service)
        return service

    async def remove(self, service: Service) -> None:
        self.balancer.processes.remove(service)
        await service.stop()

    async def sign_in(self, count: int) -> None:
        """Let more people come."""
        service = self.balancer.processes[0]
        client = await service.add_client()
        for _ in range(count):
            account = await service.add_account()
            self._rounds.append(0)
            person = self.balancer.refresh_again_and_again(client, account, self._rounds, len(self._rounds) - 1)
            self._people.append(asyncio.create_task(person))

    async def go_on(self, rounds: int = 3) -> None:
        """Wait until each person has refreshed a few times more. Raise what one of them raised."""
        goals = [count + rounds for count in self._rounds]
        async with asyncio.timeout(60):
            while any(count < goal for count, goal in zip(self._rounds, goals, strict=True)):
                for person in self._people:
                    if person.done():
                        person.result()
                await asyncio.sleep(0.01)

    async def rotate_signing_key(self) -> int:
        """Let a day pass at once, and return the id of the key that encrypts the next signing key."""
        before = len(await encryption_ids(self.balancer.processes[0]))
        async with self.balancer.paused():
            self.clock.now += DAY
        async with asyncio.timeout(30):
            while len(found := await encryption_ids(self.balancer.processes[0])) == before:
                await asyncio.sleep(0.02)
        return found[-1]

    async def end(self) -> None:
        for person in self._people:
            person.cancel()
        await asyncio.gather(*self._people, return_exceptions=True)


async def roll_out_and_back(roll_out: RollOut) -> Sequence[int]:
    """Return the ids of the keys that encrypted new signing keys: before, during and after the roll-out, and after its end."""
    balancer = roll_out.balancer
    first, second = await roll_out.add(OLD_KEYS), await roll_out.add(OLD_KEYS)
    await roll_out.sign_in(PEOPLE)
    await roll_out.go_on()
    third = await roll_out.add(NEW_KEYS)
    await roll_out.sign_in(1)
    await roll_out.go_on()
    encrypted = [await roll_out.rotate_signing_key()]
    await roll_out.remove(first)
    fourth = await roll_out.add(NEW_KEYS)
    await roll_out.remove(second)
    await beat(*balancer.processes)
    await roll_out.sign_in(PEOPLE)
    encrypted.append(await roll_out.rotate_signing_key())
    await roll_out.go_on()
    # One that lacks the new keys starts again.
    await roll_out.add(OLD_KEYS)
    await roll_out.remove(third)
    await beat(fourth)
    before = balancer.key_ids[1]
    await roll_out.sign_in(PEOPLE)
    encrypted.append(await roll_out.rotate_signing_key())
    await roll_out.go_on()
    assert balancer.key_ids[1] > before
    return encrypted


@pytest.fixture
async def roll_out(at: str, start_service: StartService, polls_often: None) -> AsyncIterator[RollOut]:
    found = RollOut(at, start_service)
    yield found
    await found.end()


async def test_new_keys_are_rolled_out_and_back_under_load_and_no_one_is_signed_out(roll_out: RollOut) -> None:
    assert [1, 2, 1] == await roll_out_and_back(roll_out)
    statuses = roll_out.balancer.statuses
    # 401: of an access token that was sent after its day.
    assert {200, 503} == statuses.keys() - {401}
    assert roll_out.balancer.key_ids[2] > 0
    print(f"responses by status: {dict(statuses)}, refresh tokens by key: {dict(roll_out.balancer.key_ids)}")


@pytest.mark.slow
async def test_the_same_without_asking_which_keys_the_others_have_signs_people_out(
    roll_out: RollOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.processes.processes.choose_key", lambda own, *_: own[0])
    monkeypatch.setattr(Processes, "is_elsewhere", lambda *_: False)

    async def roll_out_often() -> None:
        # Which process gets a request is a matter of chance.
        for _ in range(4):
            await roll_out_and_back(roll_out)

    with pytest.raises(AssertionError, match=r"invalid_grant|invalid_token"):
        await roll_out_often()
