"""Lines of signing keys: one for access tokens, one for each algorithm of ID tokens; how they open, rotate and end."""

import asyncio
from typing import Any

import pytest

from authmint import ResourceServer
from authmint.errors import TemporarilyUnavailable
from authmint.jose import SigningKey
from authmint_service.change_feed import ChangeKind
from authmint_service.errors import InvalidValue
from authmint_service.signing_keys import RotatingKeyRing, State
from authmint_service.signing_keys.schedule import ANNOUNCE_SECONDS
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Clock, Service, StartService
from tests.service.signing import NOW, empty_store, jwks_of, kid_of, kids_of, policy, replace_leaked_keys, seen, signs

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("polls_often")]

TWO = policy("ES256", "RS256")


async def algorithms_of(service: Service) -> list[str]:
    return sorted(key["alg"] for key in (await jwks_of(service))["keys"])


async def check_of_keys(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = (await service.http.get("/readyz")).json()["checks"]["signing_keys"]
    return found


async def test_a_new_line_is_announced_and_leaves_the_line_of_access_tokens_alone(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        clock = Clock()
        first = await start_service(at=dsn, clock=clock)
        access = await signs(first, secret)
        both = await start_service(at=dsn, clock=clock, id_token_algorithms="RS256,ES256", signing_rsa_bits=2048)
        assert ["ES256", "RS256"] == await algorithms_of(both)
        ring = RotatingKeyRing(clock, TWO.algorithms)
        ring.replace(await store.load())
        with pytest.raises(TemporarilyUnavailable):
            ring.signer_for("RS256")
        check = await check_of_keys(both)
        assert ("incomplete", True) == (check["status"], "RS256" in check["message"])
        assert 200 == (await both.http.get("/readyz")).status_code
        clock.now += ANNOUNCE_SECONDS + 1
        assert "ok" == (await check_of_keys(both))["status"]
        signers = {algorithm: ring.signer_for(algorithm).kid for algorithm in TWO.algorithms}
        assert (access, access) == (signers["ES256"], ring.signer.kid)
        assert signers["RS256"] == next(key["kid"] for key in (await jwks_of(both))["keys"] if key["alg"] == "RS256")
        assert access == await signs(both, secret)


async def test_an_empty_store_has_a_key_for_each_line_that_signs_at_once(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        service = await start_service(at=dsn, id_token_algorithms="RS256", signing_rsa_bits=2048)
        assert "ok" == (await check_of_keys(service))["status"]
        assert {"ES256": State.ACTIVE, "RS256": State.ACTIVE} == {
            key.algorithm: key.schedule.state(service.clock()) for key in await store.load()
        }


async def test_a_line_that_is_left_out_ends_as_a_rotation_does_and_the_end_is_recorded(
    server_dsn: str, start_service: StartService
) -> None:
    async with empty_store(server_dsn) as (dsn, database, store):
        await store.rotate_if_due(TWO, NOW - 1000, actor=OPERATOR)
        rotation = await store.rotate_if_due(policy(), NOW, actor=OPERATOR)
        (kid,) = rotation.closed
        assert ({}, "RS256") == (rotation.created, rotation.closed[kid])
        assert not await store.rotate_if_due(policy(), NOW + 1, actor=OPERATOR)
        service = await start_service(at=dsn)
        assert ["ES256", "RS256"] == await algorithms_of(service)
        service.clock.now += ANNOUNCE_SECONDS + 1
        states = {key.kid: key.schedule.state(service.clock()) for key in await store.load()}
        assert State.RETIRED is states[kid]
        service.clock.now += policy().retention_seconds
        assert ["ES256"] == await algorithms_of(service)
        details = await database.fetch_value("SELECT details FROM authmint.events WHERE kind = 'signing_key.retired'")
        assert kid in str(details)


async def test_an_algorithm_changes_and_the_old_one_goes_on_for_id_tokens(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        clock = Clock()
        before = await start_service(at=dsn, clock=clock)
        old = await signs(before, secret)
        after = await start_service(
            at=dsn, clock=clock, signing_algorithm="RS256", id_token_algorithms="ES256", signing_rsa_bits=2048
        )
        # Until the new line signs, the old one does, in each process.
        assert old == await signs(after, secret)
        await before.stop()
        clock.now += ANNOUNCE_SECONDS + 1
        assert old != (new := await signs(after, secret))
        assert {old: None, new: None} == {key.kid: key.schedule.retired_at for key in await store.load()}


async def test_a_change_of_algorithm_is_undone_when_the_first_key_of_the_new_line_is_revoked(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, _, store):
        await store.rotate_if_due(TWO, NOW - 1000, actor=OPERATOR)
        rotation = await store.rotate_if_due(policy("ES384", "RS256"), NOW, actor=OPERATOR)
        ((announced, _),) = rotation.created.items()
        assert {"ES256"} == set(rotation.closed.values())
        await store.revoke(announced, NOW + 1, actor=OPERATOR)
        later = NOW + 2 * ANNOUNCE_SECONDS
        states = {key.algorithm: (key.schedule.state(later), key.schedule.retired_at) for key in await store.load()}
        expected = {"ES256": (State.ACTIVE, None), "RS256": (State.ACTIVE, None), "ES384": (State.REVOKED, None)}
        assert expected == states


async def test_to_revoke_the_next_key_of_one_line_leaves_another_line_alone_that_rotates_at_the_same_time(
    server_dsn: str,
) -> None:
    async with empty_store(server_dsn) as (_, _, store):
        await store.rotate_if_due(TWO, NOW, actor=OPERATOR)
        later = NOW + TWO.period
        second = {algorithm: kid for kid, algorithm in (await store.rotate_if_due(TWO, later, actor=OPERATOR)).created.items()}
        await store.revoke(second["ES256"], later, actor=OPERATOR)
        ends = {(key.algorithm, key.kid in second.values()): key.schedule.retired_at for key in await store.load()}
        assert ends["ES256", False] is ends["RS256", True] is None
        assert ends["RS256", False] is not None


async def test_a_line_stays_published_although_another_had_many_keys_since(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, database, store):
        await store.rotate_if_due(TWO, NOW - 1000, actor=OPERATOR)
        await database.execute(
            "INSERT INTO authmint.signing_keys"
            " (kid, algorithm, encryption_key_id, published_at, active_from, retired_at, withdrawn_at)"
            " SELECT 'old ' || i, 'ES512', 1, now() + i * interval '1 second', now(), now(), now()"
            " FROM generate_series(1, 600) AS i"
        )
        keys = await store.load()
        assert 500 == len(keys)
        assert {"ES256", "RS256"} == {key.algorithm for key in keys if key.signer is not None}


async def test_an_emergency_replaces_the_keys_of_all_lines(server_dsn: str, start_service: StartService) -> None:
    async with empty_store(server_dsn) as (dsn, _, store):
        await store.rotate_if_due(TWO, NOW - 1000, actor=OPERATOR)
        await store.announce_new(TWO, NOW, actor=OPERATOR, algorithm="RS256")
        leaked = {key.kid for key in await store.load()}
        service = await start_service(at=dsn, id_token_algorithms="RS256", signing_rsa_bits=2048)
        done = await replace_leaked_keys(store, service.clock, TWO)
        assert (leaked, ["ES256", "RS256"]) == (set(done.revoked), sorted(done.created.values()))
        await seen(service, set(done.created))
        assert "ok" == (await check_of_keys(service))["status"]


async def test_keys_are_announced_in_their_own_line(server_dsn: str) -> None:
    async with empty_store(server_dsn) as (_, _, store):
        await store.rotate_if_due(TWO, NOW - 1000, actor=OPERATOR)
        rsa, _ = await store.announce_new(TWO, NOW, actor=OPERATOR, algorithm="RS256")
        mine = SigningKey.generate("ES256")
        schedule = await store.announce(mine, TWO, NOW, actor=OPERATOR)
        assert NOW + ANNOUNCE_SECONDS == schedule.active_from
        for algorithm in TWO.algorithms:
            with pytest.raises(InvalidValue, match="announced already"):
                await store.announce_new(TWO, NOW, actor=OPERATOR, algorithm=algorithm)
        # The first key of another line waits as well: clients may have cached the keys without it.
        other = await store.announce(SigningKey.generate("ES384"), TWO, NOW, actor=OPERATOR)
        assert NOW + ANNOUNCE_SECONDS == other.active_from
        keys = await store.load()
        assert {"RS256": rsa, "ES256": mine.kid} == {
            key.algorithm: key.kid for key in keys if key.schedule.state(NOW) is State.NEXT and key.algorithm in TWO.algorithms
        }


async def test_a_damaged_key_of_another_line_stops_no_access_token_and_is_reported(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        service = await start_service(at=dsn, id_token_algorithms="RS256", signing_rsa_bits=2048)
        access = await signs(service, secret)
        statement = "UPDATE authmint.signing_keys SET encryption_key_id = 9 WHERE algorithm = 'RS256'"
        await service.change(ChangeKind.SIGNING_KEY, "any", statement)
        await seen(service, {access})
        assert access == await signs(service, secret)
        check = await check_of_keys(service)
        assert ("incomplete", True) == (check["status"], "RS256" in check["message"])
        metrics = (await service.internal("/metrics")).text
        assert 'authmint_signing_keys{algorithm="RS256",state="unusable"} 1.0' in metrics
        assert 'authmint_signing_keys{algorithm="ES256",state="active"} 1.0' in metrics


async def test_access_tokens_of_each_line_verify_while_processes_have_different_settings(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with empty_store(server_dsn) as (dsn, _, _):
        clock = Clock()
        services = [
            await start_service(at=dsn, clock=clock, signing_algorithm=algorithm, signing_rsa_bits=2048)
            for algorithm in ("ES256", "RS256")
        ]
        clients = [await service.add_client(secret, default_resources=("orders",)) for service in services]
        for _ in range(6):
            async with asyncio.timeout(10):
                while (published := await kids_of(services[0])) != await kids_of(services[1]):
                    await asyncio.sleep(0.02)
            for service, client in zip(services, clients, strict=True):
                answer = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
                token = answer.json()["access_token"]
                orders = ResourceServer(issuer=ISSUER, audience="orders", jwks=await jwks_of(services[0]), clock=clock)
                assert client.client_id == (await orders.verify(token)).client_id
                assert kid_of(token) in published
            clock.now += ANNOUNCE_SECONDS / 2
