"""Resource services beside a real token service, over real HTTP: it is stopped for a day, and its keys change under load."""

import asyncio
import importlib.util
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from authmint import RemoteKeySet, ResourceServer
from authmint.jose import Parser, encode_base64url, read_payload
from authmint.revocation_list_follower import RevocationListFollower
from authmint_service.app import create_app
from authmint_service.clients import Client
from authmint_service.database import Database
from authmint_service.signing_keys import MAX_AGE
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS
from tests.actors import OPERATOR
from tests.service.conftest import Clock, Service, StartService, make_settings, migrated_database
from tests.service.signing import kid_of, kids_of, policy, replace_leaked_keys, store_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ORDERS = Path(__file__).resolve().parents[2] / "examples/orders/orders/app.py"


class TokenServices:
    """Whichever token service is the current one, at one address."""

    def __init__(self) -> None:
        self.current: Any = None
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.current(scope, receive, send)


@asynccontextmanager
async def at_one_address() -> AsyncIterator[TokenServices]:
    """Until the end of the block they are served on loopback."""
    services = TokenServices()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        services.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(services, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield services
        finally:
            server.should_exit = True
            await task


def orders_example(issuer: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The example as it stands, with a clock of the test's own."""
    monkeypatch.setenv("ORDERS_ISSUER", issuer)
    for name in ("ORDERS_JWKS_FILE", "ORDERS_BILLING_URL"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("orders_with_a_clock", ORDERS)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "orders_with_a_clock", module)
    spec.loader.exec_module(module)
    auth: ResourceServer = module.auth
    auth._clock = auth._state.verifier._clock = clock
    for trusted in auth._state.verifier.issuers.values():
        assert isinstance(trusted.keys, RemoteKeySet)
        assert isinstance(trusted.revocation_list, RevocationListFollower)
        trusted.keys._clock = trusted.revocation_list._clock = clock
    app: FastAPI = module.create_app()
    return app


async def ask(orders: FastAPI, token: str) -> int:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=orders), base_url="https://orders.example") as http:
        return (await http.get("/orders", headers={"Authorization": f"Bearer {token}"})).status_code


async def token_for(service: Service, client: Client, secret: str) -> str:
    answer = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
    assert 200 == answer.status_code, answer.text
    return str(answer.json()["access_token"])


async def test_orders_answers_200_for_a_day_after_the_token_service_has_stopped_and_its_database_is_gone(
    server_dsn: str, password_hash: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, start = Clock(), Clock().now
    minutes = [*range(0, 24 * 60, 7), 24 * 60 - 1]
    async with at_one_address() as services:
        async with migrated_database(server_dsn) as dsn:
            app = services.current = create_app(make_settings(dsn, issuer=services.url), clock=clock, database_time=clock.ask)
            async with (
                app.router.lifespan_context(app),
                httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=services.url) as http,
                (database := Database(size=1)).open(dsn),
            ):
                service = Service(app, http, database, clock, password_hash)
                client = await service.add_client(secret, default_resources=("orders",))
                # Tokens live for minutes. Those of the coming day are made now, by the service itself, as its clock goes.
                tokens = []
                for minute in minutes:
                    clock.now = start + minute * 60
                    tokens.append(await token_for(service, client, secret))
                clock.now = start
                orders = orders_example(services.url, clock, monkeypatch)
                assert 200 == await ask(orders, tokens[0])
        services.current = None
    async with orders.router.lifespan_context(orders):
        answers = Counter[int]()
        for minute, token in zip(minutes, tokens, strict=True):
            clock.now = start + minute * 60
            answers[await ask(orders, token)] += 1
        assert {200: len(minutes)} == answers
        clock.now += 120
        assert 503 == await ask(orders, tokens[-1])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "pause"), [(4, 0.02), pytest.param(20, 0, marks=pytest.mark.long)])
@pytest.mark.slow
async def test_twenty_rotations_under_load_with_changes_of_algorithm_cost_no_false_401(
    start_service: StartService, server_dsn: str, secret: str, monkeypatch: pytest.MonkeyPatch, count: int, pause: float
) -> None:
    """Twenty in `make test-long`; else four, of both kinds, with a `pause` between the requests."""
    # Every step of the simulated clock is a minute; a real service looks every half second.
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    # A minute passes in 30 ms here, and no long poll is that short.
    monkeypatch.setattr("authmint.revocation_list_follower.RevocationListFollower.is_overdue", False)
    clock = Clock()
    answers, signed, published = Counter[int](), dict[str, float](), dict[str, float]()
    async with at_one_address() as services, migrated_database(server_dsn) as dsn:

        async def begin(algorithm: str) -> Service:
            return await start_service(
                at=dsn, clock=clock, issuer=services.url, signing_algorithm=algorithm, signing_rsa_bits=2048
            )

        signing = await begin("ES256")
        services.current = signing.app
        client = await signing.add_client(secret, default_resources=("orders",))
        # They start before the first rotation, and are never told of any.
        resources = [orders_example(services.url, clock, monkeypatch) for _ in range(2)]
        known = [await token_for(signing, client, secret)]
        stopped = asyncio.Event()

        async def load(orders: FastAPI) -> None:
            while not stopped.is_set():
                for token in tuple(known):
                    answer = await ask(orders, token)
                    # A minute takes 30 ms here, so that a token may expire while its request waits for a fetch.
                    if answer != 401 or clock.now < read_payload(Parser().parse(token).payload)["exp"]:
                        answers[answer] += 1
                await asyncio.sleep(pause)

        algorithm, first = "ES256", await kids_of(signing)
        loads = [asyncio.create_task(load(orders)) for orders in resources * 2]
        try:
            for number in range(count):
                # Half of them change the algorithm, as a rolling restart does; the others are asked for.
                if number % 2 == 0:
                    await signing.stop()
                    algorithm = "RS256" if number % 4 == 0 else "ES256"
                    signing = await begin(algorithm)
                    services.current = signing.app
                else:
                    await store_of(signing.database, make_settings(dsn)).announce_new(
                        policy(algorithm), clock.now, actor=OPERATOR
                    )
                # The service publishes it seconds after it was made, and no minute of the simulated clock passes until then.
                while not (new := await kids_of(signing) - published.keys() - first):
                    await asyncio.sleep(0.02)
                published |= dict.fromkeys(new, clock.now)
                for _ in range(14):
                    clock.now += 60
                    await asyncio.sleep(0.03)
                    known.append(await token_for(signing, client, secret))
                    signed.setdefault(kid_of(known[-1]), clock.now)
                    del known[:-4]
        finally:
            stopped.set()
            await asyncio.gather(*loads)
    notices = [begun - published[kid] for kid, begun in signed.items() if kid in published]
    sys.stdout.write(json.dumps({"rotations": len(notices), "shortest_notice": min(notices), "answers": answers}) + "\n")
    assert count == len(notices)
    assert 2 * MAX_AGE <= min(notices)
    assert {200} == set(answers)
    assert answers[200] > count * 14 * 4


async def test_a_revoked_key_is_dead_within_the_age_that_keys_may_be_kept(
    start_service: StartService, server_dsn: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    clock = Clock()
    async with at_one_address() as services, migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn, clock=clock, issuer=services.url, access_token_ttl=3600)
        services.current = service.app
        client = await service.add_client(secret, default_resources=("orders",))
        orders = orders_example(services.url, clock, monkeypatch)
        stolen = await token_for(service, client, secret)
        assert 200 == await ask(orders, stolen)
        # Nobody follows the revocation list here: the keys alone have to do it.
        done = await replace_leaked_keys(store_of(service.database, make_settings(dsn)), clock)
        while done.created.keys() != await kids_of(service):
            await asyncio.sleep(0.02)
        since, status = clock.now, 200
        while status == 200 and clock.now < since + 2 * MAX_AGE:
            clock.now += 10
            # The first request after the keys have become old starts a fetch, and the next one sees what it brought.
            # On a busy machine that takes a moment, while the clock stands still.
            for _ in range(10):
                status = await ask(orders, stolen)
                if status != 200:
                    break
                await asyncio.sleep(0.05)
        assert 401 == status
        assert clock.now - since <= MAX_AGE
        assert 200 == await ask(orders, await token_for(service, client, secret))
    sys.stdout.write(json.dumps({"revoked_key_dead_after_seconds": clock.now - since}) + "\n")


async def test_a_new_key_after_an_emergency_is_accepted_at_once_and_costs_one_fetch(
    start_service: StartService, server_dsn: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    clock = Clock()
    async with at_one_address() as services, migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn, clock=clock, issuer=services.url)
        services.current = service.app
        client = await service.add_client(secret, default_resources=("orders",))
        orders = orders_example(services.url, clock, monkeypatch)
        stolen = await token_for(service, client, secret)
        assert 200 == await ask(orders, stolen)
        # Beyond the 30 seconds in which a resource server does not ask again.
        clock.now += 31
        done = await replace_leaked_keys(store_of(service.database, make_settings(dsn)), clock)
        while done.created.keys() != await kids_of(service):
            await asyncio.sleep(0.02)
        assert 200 == await ask(orders, await token_for(service, client, secret))
        # The fetch that brought the new key has taken the old one away.
        assert 401 == await ask(orders, stolen)


async def test_an_emergency_reaches_a_follower_of_the_list_within_the_cooldown_and_costs_no_false_401(
    start_service: StartService, server_dsn: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token with an invented key, sent a moment before, has used up the fetch of these thirty seconds."""
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    clock = Clock()
    async with at_one_address() as services, migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn, clock=clock, issuer=services.url)
        services.current = service.app
        client = await service.add_client(secret, default_resources=("orders",))
        orders = orders_example(services.url, clock, monkeypatch)
        stolen = await token_for(service, client, secret)
        assert [200, 503] == [await ask(orders, token) for token in (stolen, with_another_key(stolen))]
        await replace_leaked_keys(store_of(service.database, make_settings(dsn)), clock)
        since, answers, old = clock.now, set[int](), 200
        while (200 not in answers or old == 200) and clock.now < since + 30:
            clock.now += 0.2
            await asyncio.sleep(0.2)
            old = await ask(orders, stolen)
            good = await token_for(service, client, secret)
            if kid_of(good) != kid_of(stolen):
                answers.add(await ask(orders, good))
    sys.stdout.write(json.dumps({"emergency_reached_a_follower_after_seconds": round(clock.now - since, 1)}) + "\n")
    assert 401 == old
    assert {200, 503} >= answers >= {200}
    assert clock.now - since < 8


def with_another_key(token: str) -> str:
    """Return the token as if a key had signed it that nobody has."""
    _, payload, signature = token.split(".")
    header = {"alg": "ES256", "typ": "at+jwt", "kid": "invented"}
    return ".".join((encode_base64url(json.dumps(header).encode()), payload, signature))


@pytest.mark.parametrize("is_withdrawn", [False, True])
async def test_explain_names_the_times_when_a_key_was_retired_and_withdrawn(
    start_service: StartService, server_dsn: str, secret: str, monkeypatch: pytest.MonkeyPatch, *, is_withdrawn: bool
) -> None:
    monkeypatch.setattr("authmint_service.change_feed.POLL_SECONDS", 0.02)
    # The command has this machine's clock, so the service's reaches the present at the end.
    clock = Clock(time.time() - ANNOUNCE_SECONDS - 100 - (policy().retention_seconds if is_withdrawn else 0))
    async with at_one_address() as services, migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn, clock=clock, issuer=services.url)
        services.current = service.app
        token = await token_for(service, await service.add_client(secret, default_resources=("orders",)), secret)
        _, schedule = await store_of(service.database, make_settings(dsn)).announce_new(policy(), clock.now, actor=OPERATOR)
        while len(await kids_of(service)) < 2:
            await asyncio.sleep(0.02)
        clock.now = time.time()
        command = [sys.executable, "-m", "authmint.cli", "explain", "-", "--issuer", services.url, "--json"]
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate(token.encode())
    (message,) = (check["message"] for check in json.loads(said)["checks"] if check["name"] == "signature")

    def at(seconds: float) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"

    kid, retired = kid_of(token), schedule.active_from
    if is_withdrawn:
        withdrawn = at(retired + policy().retention_seconds)
        assert f"The issuer's key {kid} was retired on {at(retired)} and withdrawn on {withdrawn}." == message
    else:
        assert f"It was made with the issuer's key {kid} (ES256), which was retired on {at(retired)}." == message
