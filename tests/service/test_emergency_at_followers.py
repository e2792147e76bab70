"""A leaked key is replaced while two processes serve: what a follower of the revocation list sees. In real time."""

import asyncio
import itertools
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from authmint import InvalidToken, IssuerUnavailable, ResourceServer
from authmint.jose import Parser, read_payload
from authmint_service.signing_keys import EmergencyRotation, rotate_emergency
from authmint_service.signing_keys.signer import TokenSigner
from tests.actors import OPERATOR
from tests.service.conftest import Clock, Service, StartService
from tests.service.signing import empty_store, kid_of, policy
from tests.service.test_resource_services import at_one_address, token_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


class RunningClock(Clock):
    """The time."""

    def __call__(self) -> float:
        return time.time()

    async def ask(self) -> float:
        return time.time()


class Follower:
    """A resource service, and how it answered."""

    def __init__(self, issuer: str) -> None:
        self.server = ResourceServer(issuer=issuer, audience="orders", revocation_list=True)
        self.retry_after: list[int] = []

    async def answer(self, token: str) -> int:
        try:
            await self.server.verify(token)
        except InvalidToken:
            return 401
        except IssuerUnavailable as error:
            self.retry_after.append(error.retry_after)
            return 503
        return 200


def by_turns(services: list[Service]) -> Any:
    """Both processes behind one address, each for every second request."""
    turns = itertools.cycle(services)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await next(turns).app(scope, receive, send)

    return serve


@asynccontextmanager
async def repeated(action: Any, pause: float) -> AsyncIterator[None]:
    """Repeat an action until the end of the block."""

    async def repeat() -> None:
        while True:
            await action()
            await asyncio.sleep(pause)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled(), task.exception()


@pytest.mark.slow
async def test_an_emergency_costs_no_good_token_a_401_and_forged_ones_are_refused_within_two_seconds(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    clock, answers = RunningClock(), Counter[tuple[bool, int]]()
    async with at_one_address() as address, empty_store(server_dsn) as (dsn, _, store):
        services = [await start_service(at=dsn, clock=clock, issuer=address.url) for _ in range(2)]
        address.current = by_turns(services)
        client = await services[0].add_client(secret, resources=("orders",), default_resources=("orders",))
        (leaked,) = await store.load()
        assert leaked.signer
        forger, followers = TokenSigner(leaked.signer), [Follower(address.url) for _ in range(2)]
        claims = read_payload(Parser().parse(await token_for(services[0], client, secret)).payload)

        async def forge() -> str:
            """Make a token that no epoch and no session would ever refuse."""
            now = int(time.time())
            return await forger.sign(claims | {"iat": now, "exp": now + 300, "jti": secrets.token_hex(8), "epoch": 2**53})

        async def use_good_tokens() -> None:
            for service in services:
                token = await token_for(service, client, secret)
                for follower in followers:
                    answers[kid_of(token) != leaked.kid, await follower.answer(token)] += 1

        async def replace_keys() -> tuple[EmergencyRotation, float]:
            done = await rotate_emergency(store, policy(), time.time(), actor=OPERATOR)
            return done, time.monotonic()

        async with followers[0].server.lifespan(), followers[1].server.lifespan():
            assert [200, 200] == [await follower.answer(await forge()) for follower in followers]
            async with repeated(use_good_tokens, 0.05):
                done, revoked_at = await replace_keys()
                seconds = [await refused_after(follower, forge, revoked_at) for follower in followers]
                # They learn the new key from the list, and not only at the end of a cooldown of thirty seconds.
                async with asyncio.timeout(15):
                    while answers[True, 200] < 20:
                        await asyncio.sleep(0.05)
        assert [leaked.kid] == list(done.revoked)
    of_new_key = {status: count for (is_new, status), count in answers.items() if is_new}
    sys.stdout.write(json.dumps({"forged_refused_after": max(seconds), "answers_to_the_new_key": of_new_key}) + "\n")
    assert max(seconds) < 2
    assert of_new_key.keys() <= {200, 503}
    assert all(follower.retry_after == [] or min(follower.retry_after) > 0 for follower in followers)


async def refused_after(follower: Follower, forge: Any, since: float) -> float:
    """Return the seconds until a newly forged token gets a 401."""
    async with asyncio.timeout(30):
        while 401 != await follower.answer(await forge()):
            await asyncio.sleep(0.02)
    return round(time.monotonic() - since, 2)
