"""The revocation list, and how fast it reaches a resource service that verifies tokens locally."""

import asyncio
import json
import sys
import time
import uuid
from array import array
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI

from authmint import ResourceServer
from authmint.errors import InvalidToken
from authmint.jose import Parser, VerifyingKey, read_payload
from authmint.revocation_list import MAX_BYTES, RevocationList
from authmint.revoked_entries import Below, Packs, RevokedEntries, entry_of
from authmint_service.accounts import AccountStore
from authmint_service.administration.tokens import revoke_all_tokens
from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.clients import ClientStore
from authmint_service.revocations import RevocationHistory
from authmint_service.signing_keys.signer import TokenSigner
from authmint_service.tokens.revocation_list import Publication
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, Service, StartService, migrated_database, record_change
from tests.service.devices import sign_in
from tests.service.routes import endpoints_of
from tests.service.signing import empty_store
from tests.service.test_outages import black_hole
from tests.service.test_resource_services import ask, at_one_address, orders_example
from tests.service.test_session_revocation import introspect

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]


async def fetch_list(service: Service, **query: object) -> RevocationList:
    """Return what the service responds, with its signature verified."""
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await service.http.get(f"/revocation-list?{parameters}")
    assert (200, "application/revocation-list+jwt", "no-store") == (
        answer.status_code, answer.headers["content-type"], answer.headers["cache-control"],
    )  # fmt: skip
    jws = Parser(types=("revocation-list+jwt",), max_length=MAX_BYTES).parse(answer.text)
    keys = [VerifyingKey.from_jwk(jwk) for jwk in (await service.http.get("/.well-known/jwks.json")).json()["keys"]]
    (key,) = (key for key in keys if key.kid == jws.header.key_id)
    return RevocationList.from_claims(read_payload(key.verify(jws)), issuer=ISSUER)


async def published(service: Service) -> RevocationList:
    """Return all that was revoked until now."""
    await service.read_revocations()
    return await fetch_list(service)


def session_of(access: str) -> str:
    return str(read_payload(Parser().parse(access).payload)["sid"])


def lists(known: RevocationList, access: str) -> bool:
    return entry_of(session_of(access)) in known.entries.sessions


@repeat_if_undone
async def take(service: Service, changes: Mapping[ChangeKind, str]) -> dict[ChangeKind, int]:
    """Record that something was taken away. Return the number of each change."""
    async with change_transaction(service.database) as change:
        for kind, name in changes.items():
            await change.record(kind, name, takes=True)
    rows = await service.database.fetch_all("SELECT kind, n FROM authmint.changes ORDER BY n DESC LIMIT $1", len(changes))
    return {ChangeKind(row["kind"]): row["n"] for row in rows}


async def test_a_revoked_session_is_listed_until_its_last_access_token_has_expired(service: Service) -> None:
    one, other = await sign_in(service), await sign_in(service)
    known = await published(service)
    assert not lists(known, one.access)
    service.clock.now += 100
    await one.ask("DELETE", "/account/v1/sessions/current")
    known = await published(service)
    assert (True, False) == (lists(known, one.access), lists(known, other.access))
    # 200 of five minutes of life are left; 300 seconds of leeway that a resource server may give at most; whole minutes.
    service.clock.now += 499
    assert lists(await published(service), one.access)
    service.clock.now += 61
    assert not lists(await published(service), one.access)


async def test_a_session_whose_row_says_nothing_of_its_tokens_is_listed_for_the_longest_life(service: Service) -> None:
    one = await sign_in(service)
    await service.database.execute("UPDATE authmint.sessions SET tokens_until = NULL WHERE id = $1", session_of(one.access))
    await one.ask("DELETE", "/account/v1/sessions/current")
    service.clock.now += 3899
    assert lists(await published(service), one.access)


async def test_a_session_that_was_revoked_when_its_tokens_had_expired_is_not_listed(service: Service) -> None:
    one = await sign_in(service)
    service.clock.now += 661
    assert await service.app.state.revocation_list.read() is None
    await one.service.http.post("/revoke", data={"client_id": one.client.client_id, "token": one.refresh})
    assert not lists(await published(service), one.access)


async def test_a_services_access_token_that_is_revoked_is_listed_and_inactive_at_once(service: Service, secret: str) -> None:
    robot, asks = await service.add_client(secret), await service.add_client(secret)
    who = {"client_id": robot.client_id, "client_secret": secret}
    tokens = [(await service.token(grant_type="client_credentials", **who)).json()["access_token"] for _ in range(2)]
    # Another client's token is revoked by nobody, and nothing is said about it.
    for client in (asks, robot, robot):
        revoked = {"client_id": client.client_id, "client_secret": secret, "token": tokens[0]}
        assert 200 == (await service.http.post("/revoke", data=revoked)).status_code
        active = [(await introspect(service, asks, secret, token))["active"] for token in tokens]
        assert [client is asks, True] == active
    known = (await published(service)).entries
    entries = [entry_of(str(read_payload(Parser().parse(token).payload)["jti"])) for token in tokens]
    assert [True, False] == [entry in known.tokens for entry in entries]
    events = "SELECT details->>'jti' AS jti FROM authmint.events WHERE kind = 'token.revoked' AND client_id = $1"
    recorded = [row["jti"] for row in await service.database.fetch_all(events, robot.client_id)]
    assert entries[:1] == [entry_of(jti) for jti in recorded]
    service.clock.now += 661
    assert 0 == len((await published(service)).entries.tokens)


async def test_a_delta_has_what_was_written_since_a_minute_before(service: Service) -> None:
    ended, known = [], await published(service)
    for _ in range(4):
        one = await sign_in(service)
        await one.ask("DELETE", "/account/v1/sessions/current")
        ended.append(one.access)
        known = await published(service)
        service.clock.now += 40
    first = await fetch_list(service)
    assert (None, [True] * 4) == (first.since, [lists(first, one) for one in ended])
    delta = await fetch_list(service, since=known.serial)
    assert delta.since is not None
    assert delta.since <= known.serial == delta.serial
    assert [False, False, True, True] == [lists(delta, one) for one in ended]
    # Of a follower that was away for too long, and of one that has a later serial than there is.
    assert (await fetch_list(service, since=known.serial - 125_000)).since is None
    ahead = await fetch_list(service, since=known.serial + 10_000_000)
    assert (True, True) == (ahead.since is not None, (ahead.since or 0) <= known.serial)


async def test_a_response_waits_until_there_is_something_new(service: Service) -> None:
    one = await sign_in(service)
    known = await published(service)
    waiting = asyncio.create_task(fetch_list(service, since=known.serial, wait=8))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    service.clock.now += 1
    await one.ask("DELETE", "/account/v1/sessions/current")
    await service.read_revocations()
    delta = await waiting
    assert (True, True) == (lists(delta, one.access), known.serial < delta.serial)
    # What is newer is there already.
    assert delta == await fetch_list(service, since=known.serial, wait=8)
    started = time.monotonic()
    assert delta == await fetch_list(service, since=delta.serial, wait=1)
    assert time.monotonic() - started >= 1


async def test_a_list_is_signed_again_when_it_is_20_seconds_old_and_only_from_a_new_reading(service: Service) -> None:
    known = await published(service)
    service.clock.now += 19
    assert known == await published(service)
    service.clock.now += 1
    # Nobody has read the database since.
    assert known == await fetch_list(service)
    again = await published(service)
    assert (known.issued_at + 20, known.serial + 20_000) == (again.issued_at, again.serial)


async def test_a_follower_of_a_process_that_has_read_more_gets_no_older_list(service: Service) -> None:
    known = await published(service)
    service.clock.now += 3
    await service.read_revocations()
    delta = await fetch_list(service, since=known.serial + 2000)
    assert known.serial + 3000 == delta.serial
    assert known == await fetch_list(service)


async def test_a_database_whose_clock_is_set_back_takes_nothing_back(service: Service) -> None:
    known = await published(service)
    service.clock.now -= 600
    one = await sign_in(service)
    await one.ask("DELETE", "/account/v1/sessions/current")
    await service.read_revocations()
    later = await published(service)
    assert (known.serial, True) == (later.serial, lists(later, one.access))


async def test_followers_whose_serials_are_close_together_share_one_signature(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await published(service)
    signed = []
    sign = TokenSigner.sign

    async def count(self: TokenSigner, claims: Mapping[str, Any], *, typ: str = "at+jwt") -> str:
        signed.append(typ)
        return await sign(self, claims, typ=typ)

    monkeypatch.setattr(TokenSigner, "sign", count)
    for late in range(200):
        await service.http.get(f"/revocation-list?since={known.serial - late * 10}&wait=0")
    assert len(signed) <= 2


async def test_signed_lists_of_earlier_readings_are_not_kept(service: Service) -> None:
    known = await published(service)
    for _ in range(8):
        service.clock.now += 2
        await service.read_revocations()
        for since in (0, known.serial, known.serial + 100_000):
            await fetch_list(service, since=since)
    assert len(service.app.state.revocation_list._documents) <= 4


async def test_without_a_database_the_list_is_503(start_service: StartService) -> None:
    service = await start_service(at="postgresql://nobody@127.0.0.1:1/none")
    answer = await service.http.get("/revocation-list")
    assert (503, True) == (answer.status_code, "retry-after" in answer.headers)


async def test_many_requests_while_the_database_hangs_wait_for_nothing(start_service: StartService) -> None:
    async with black_hole() as port:
        service = await start_service(at=f"postgresql://nobody@127.0.0.1:{port}/none")
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*(service.http.get("/revocation-list?since=1&wait=9") for _ in range(30)))
    assert {503} == {answer.status_code for answer in answers}


async def test_a_reading_that_is_older_than_five_seconds_is_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await published(service)
    publisher = service.app.state.revocation_list
    elapsed = publisher._elapsed
    monkeypatch.setattr(publisher, "_elapsed", lambda: elapsed() + 5)
    answer = await service.http.get("/revocation-list")
    assert (503, True) == (answer.status_code, "retry-after" in answer.headers)


async def test_what_was_taken_away_is_listed_with_the_number_of_its_change(
    start_service: StartService, server_dsn: str
) -> None:
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn)
        assert RevokedEntries() == (await published(service)).entries
        # All first: what is older than it is not listed any more.
        names = {ChangeKind.ALL: ""}
        names |= {kind: f"a {kind.value}" for kind in ChangeKind if kind is not ChangeKind.ALL}
        n = await take(service, names)
        await record_change(service.database, ChangeKind.SCOPE, "given", takes=False)
        # A key at once, the others when no process makes a token any more that does not know of them.
        await service.app.state.revocation_list.read()
        keys = frozenset({names[ChangeKind.SIGNING_KEY]})
        assert RevokedEntries(keys=keys) == service.app.state.revocation_list.entries
        below = Below(
            accounts={names[ChangeKind.ACCOUNT]: n[ChangeKind.ACCOUNT]},
            clients={names[ChangeKind.CLIENT]: n[ChangeKind.CLIENT]},
            scopes={names[ChangeKind.SCOPE]: n[ChangeKind.SCOPE]},
            all=n[ChangeKind.ALL],
        )
        known = await published(service)
        assert RevokedEntries(below=below, keys=keys) == known.entries
        again = await take(service, {ChangeKind.ACCOUNT: names[ChangeKind.ACCOUNT]})
        later = await published(service)
        assert {names[ChangeKind.ACCOUNT]: again[ChangeKind.ACCOUNT]} == later.entries.below.accounts
        assert later.entries.below == (await fetch_list(service, since=known.serial)).entries.below
        # The same to a process that starts now, and nothing after seventy minutes.
        other = await start_service(at=dsn)
        assert later.entries == (await published(other)).entries
        service.clock.now = time.time() + 4190
        assert later.entries.below == (await published(service)).entries.below
        service.clock.now += 30
        assert Below() == (await published(service)).entries.below


@pytest.mark.parametrize("count", [0, 30_000])
async def test_the_size_of_the_list_is_estimated_and_reported_long_before_it_is_too_large(
    service: Service, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    publisher = service.app.state.revocation_list
    await publisher.read()
    minute = int(service.clock()) // 60 + 5
    packs = Packs({minute: array("Q", range(0, 2**63, 2**63 // max(count, 1)))} if count else {})
    below = Below(accounts={str(uuid.uuid4()): int(service.clock() * 1000) for _ in range(count // 10)})
    history = RevocationHistory(RevokedEntries(packs, below=below))
    monkeypatch.setattr(publisher, "_current", Publication(publisher._serial, history))
    length = len((await service.http.get("/revocation-list")).content)
    assert length <= publisher.estimated_bytes <= length * 1.05 + 1000
    checks = (await service.http.get("/readyz")).json()["checks"]
    assert {"status": "ok"} == checks["revocation_list"]
    monkeypatch.setattr("authmint_service.tokens.revocation_list.MAX_BYTES", 1_000_000)
    answer = await service.http.get("/readyz")
    assert (200, "large" if count else "ok") == (answer.status_code, answer.json()["checks"]["revocation_list"]["status"])


async def test_no_account_route_takes_a_token_after_all_were_revoked(service: Service) -> None:
    one = await sign_in(service)
    await revoke_all_tokens(service.database, service.clock(), actor=OPERATOR)
    await service.read_revocations()
    routes = [endpoint for endpoint in endpoints_of(service.app) if endpoint.path.startswith("/account/v1")]
    assert len(routes) > 4
    for endpoint in routes:
        answer = await service.http.request(endpoint.method, endpoint.filled(), headers=one.bearer)
        assert 401 == answer.status_code, endpoint
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert not await one.is_over()


async def test_a_disabled_administrators_client_ends_nobodys_session(service: Service, secret: str) -> None:
    one = await sign_in(service)
    admin = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    form = {"grant_type": "client_credentials", "client_id": admin.client_id, "client_secret": secret}
    headers = {"Authorization": f"Bearer {(await service.token(**form)).json()['access_token']}"}
    sessions = f"/admin/v1/accounts/{one.user.id}/sessions"
    assert 200 == (await service.http.get(sessions, headers=headers)).status_code
    await ClientStore(service.database).disable(admin.client_id, service.clock(), actor=OPERATOR)
    await service.read_revocations()
    assert [401, 401] == [
        (await service.http.request(method, sessions, headers=headers)).status_code for method in ("GET", "DELETE")
    ]
    assert not await one.is_over()


async def test_no_route_of_the_service_takes_a_token_while_it_cannot_know_what_was_revoked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await sign_in(service)
    publisher = service.app.state.revocation_list
    elapsed = publisher._elapsed
    for seconds, status in ((0, 200), (6, 503)):
        monkeypatch.setattr(publisher, "_elapsed", lambda late=seconds: elapsed() + late)
        answer = await one.ask("GET", "/account/v1")
        assert (status, status == 503) == (answer.status_code, "retry-after" in answer.headers)


async def test_more_followers_than_may_wait_get_the_list_at_once_and_are_asked_to_come_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.endpoints.oauth.revocation_list.MAX_WAITING", 10)
    known = await published(service)
    path = f"/revocation-list?since={known.serial}&wait=10"
    waiting = [asyncio.create_task(service.http.get(path)) for _ in range(10)]
    await asyncio.sleep(0.2)
    started = time.monotonic()
    answers = await asyncio.gather(*(service.http.get(path) for _ in range(100)))
    assert time.monotonic() - started < 5
    assert {200} == {answer.status_code for answer in answers}
    # Not all at the same moment.
    assert {3, 4, 5, 6, 7} == {int(answer.headers["retry-after"]) for answer in answers}
    assert not any(task.done() for task in waiting)
    metrics = (await service.internal("/metrics")).text
    assert "authmint_revocation_list_waiting 10.0" in metrics
    assert "authmint_revocation_list_turned_away_total 100.0" in metrics
    one = await sign_in(service)
    service.clock.now += 1
    await one.ask("DELETE", "/account/v1/sessions/current")
    await service.read_revocations()
    assert {(200, None)} == {
        (answer.status_code, answer.headers.get("retry-after")) for answer in await asyncio.gather(*waiting)
    }


async def followed(orders: FastAPI, token: str, since: float) -> float:
    """Seconds until the orders example refuses a token."""
    async with asyncio.timeout(10):
        while 401 != await ask(orders, token):
            await asyncio.sleep(0.01)
    return time.monotonic() - since


# The test only bounds the time; it prints the value that docs/sessions.md shows.
async def test_a_revoked_session_is_soon_refused_by_every_following_service(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_one_address() as services:
        service = await start_service(issuer=services.url)
        services.current = service.app
        audiences = ("orders", services.url)
        client = await service.add_client(resources=audiences, default_resources=("orders",))
        orders = [orders_example(services.url, service.clock, monkeypatch) for _ in range(2)]
        seconds = []
        async with orders[0].router.lifespan_context(orders[0]), orders[1].router.lifespan_context(orders[1]):
            for how in ("logout", "disable") * 2:
                one = await sign_in(service, client=client)
                assert [200, 200] == [await ask(app, one.access) for app in orders]
                if how == "logout":
                    await one.sign_out()
                else:
                    await AccountStore(service.database).disable(one.user.id, service.clock(), actor=OPERATOR)
                revoked_at = time.monotonic()
                seconds += await asyncio.gather(*(followed(app, one.access, revoked_at) for app in orders))
    sys.stdout.write(json.dumps({"slowest_seconds": round(max(seconds), 2), "of": len(seconds)}) + "\n")


async def test_the_list_is_followed_with_a_shared_secret_as_well(
    server_dsn: str, start_service: StartService, secret: str
) -> None:
    async with at_one_address() as services, empty_store(server_dsn) as (dsn, _, _):
        service = await start_service(at=dsn, issuer=services.url, signing_algorithm="HS256", shared_secret=secret)
        services.current = service.app
        audiences = ("orders", services.url)
        one = await sign_in(service, client=await service.add_client(resources=audiences, default_resources=("orders",)))
        orders = ResourceServer(
            issuer=services.url, audience="orders", shared_secret=secret, revocation_list=True, clock=service.clock
        )
        async with orders.lifespan(), asyncio.timeout(15):
            assert one.user.id == (await orders.verify(one.access)).sub
            await one.sign_out()
            while await is_accepted(orders, one.access):
                await asyncio.sleep(0.05)


async def is_accepted(server: ResourceServer, token: str) -> bool:
    try:
        await server.verify(token)
    except InvalidToken as refused:
        return refused.reason != "revoked"
    return True
