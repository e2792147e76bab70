"""A redeemed refresh token is presented again: after a lost response, or by someone else with a copy (T-28, T-29)."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from authmint_service.change_feed import ChangeKind
from authmint_service.request_source import RequestSource
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RotationPlaces
from authmint_service.sessions.rotation_rules import MAX_LATE_REPEATS
from authmint_service.sessions.rotation_store import RotationStore
from tests.service.conftest import Service, StartService
from tests.service.devices import SignedIn, sign_in
from tests.service.test_events import events_of

LATE_SECONDS = 31
ENDED = [(400, "invalid_grant")]


def source(user_agent: str | None = "a browser", ip_address: str | None = "192.0.2.1") -> RequestSource:
    return RequestSource(request_id="", ip_address=ip_address, user_agent=user_agent)


KEYS, OTHER_KEYS = SecretKeys({1: b"1" * 32}), SecretKeys({2: b"2" * 32})
BOTH = SecretKeys({2: b"2" * 32, 1: b"1" * 32})


@pytest.mark.parametrize(
    ("has_addresses", "other", "is_same"),
    [
        (False, source(), True), (False, source(ip_address="198.51.100.9"), True), (False, source("another"), False),
        (False, source(None), False), (True, source(), True), (True, source(ip_address="192.0.2.254"), True),
        (True, source(ip_address="::ffff:192.0.2.7"), True), (True, source(ip_address="192.0.3.1"), False),
        (True, source(ip_address="2001:db8::1"), False), (True, source(ip_address=None), False),
        (True, source("another"), False),
    ],
)  # fmt: skip
def test_a_place_is_the_network_and_the_user_agent(has_addresses: bool, other: RequestSource, is_same: bool) -> None:
    places = RotationPlaces(KEYS, has_addresses=has_addresses)
    stored = places.hash(source(), 1)
    assert is_same is places.is_same(stored, other)
    assert b"192.0.2" not in stored
    assert b"a browser" not in stored
    assert 18 == len(stored)


def test_what_cannot_be_compared_counts_as_the_same_place() -> None:
    places, elsewhere = RotationPlaces(KEYS, has_addresses=True), source("another", "198.51.100.9")
    assert places.is_same(None, elsewhere)
    assert places.is_same(RotationPlaces(OTHER_KEYS, has_addresses=True).hash(source(), 2), elsewhere)
    assert places.is_same(RotationPlaces(KEYS, has_addresses=False).hash(source(), 1), elsewhere)


def test_a_place_is_hashed_with_the_key_of_the_token_so_each_process_that_reads_it_can_compare() -> None:
    both, one = RotationPlaces(BOTH, has_addresses=True), RotationPlaces(KEYS, has_addresses=True)
    stored = both.hash(source(), 1)
    assert stored == one.hash(source(), 1) != both.hash(source(), 2)
    assert [True, False] == [one.is_same(stored, other) for other in (source(), source("another"))]


def test_a_user_agent_cannot_continue_an_address() -> None:
    places = RotationPlaces(KEYS, has_addresses=True)
    assert not places.is_same(places.hash(source("\x02x", None), 1), source("x", "192.0.2.0"))


async def row(one: SignedIn) -> dict[str, Any]:
    statement = """
        SELECT generation, late_repeats, repeats, revoked_at IS NOT NULL AS is_revoked, end_cause, rotated_at, idle_expires_at
          FROM authmint.sessions WHERE account_id = $1
    """
    return dict(await one.service.database.fetch_row(statement, one.user.id) or {})


async def recorded(one: SignedIn) -> list[tuple[str, str | None]]:
    """Return kind, and kind of repeat or cause, of the events about the account after its sign-in."""
    events = await events_of(one.service, subject=one.user.id)
    return [
        (event["kind"], event["details"].get("repeat") or event["details"].get("cause"))
        for event in events
        if event["kind"].startswith("refresh_token.")
    ]


def lines_of(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def repeats_of(said: str) -> list[tuple[str, str]]:
    """Return reason and level of the lines about repeats."""
    return [(line["reason"], line["level"]) for line in lines_of(said) if line["event"] == "refresh_token.repeated"]


async def rotate(one: SignedIn) -> str:
    """Redeem the current token as its owner. Return it, the parent from now on."""
    parent, answer = one.refresh, await one.service.refresh(one.client, one.refresh)
    assert 200 == answer.status_code
    one.refresh = answer.json()["refresh_token"]
    return parent


async def statuses(one: SignedIn, *asked: str, elsewhere: bool = False) -> list[int]:
    ask = one.service.refresh_elsewhere if elsewhere else one.service.refresh
    answers = [await ask(one.client, token) for token in asked]
    assert all(answer.json()["refresh_token"] == one.refresh for answer in answers if answer.status_code == 200)
    return [answer.status_code for answer in answers]


@pytest.mark.anyio
async def test_a_lost_response_is_repeated_for_its_client_and_counts_for_nothing(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    before = await row(one)
    assert [200, 200] == await statuses(one, parent, parent)
    assert before == await row(one)
    assert [] == await recorded(one)
    assert [("repeated", "info")] * 2 == repeats_of(capfd.readouterr().err)


@pytest.mark.anyio
async def test_a_thief_who_follows_its_owner_ends_the_session_in_the_third_generation(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await sign_in(service)
    for generation in (1, 2):
        parent = await rotate(one)
        # The same child, as often as it is asked for; a generation counts once.
        assert [200, 200, 200] == await statuses(one, parent, parent, parent, elsewhere=True)
        found = await row(one)
        assert (generation, generation, False) == (found["generation"], found["repeats"], found["is_revoked"])
    parent = await rotate(one)
    assert [400] == await statuses(one, parent, elsewhere=True)
    assert "repeated_elsewhere" == (await row(one))["end_cause"]
    assert [400, 400] == await statuses(one, parent, one.refresh)
    assert [
        ("refresh_token.repeated", "elsewhere"), ("refresh_token.repeated", "elsewhere"),
        ("refresh_token.reused", "repeated_elsewhere"),
    ] == await recorded(one)  # fmt: skip
    said = capfd.readouterr().err
    assert [("repeated_elsewhere", "warning")] * 6 == repeats_of(said)
    assert ["repeated_elsewhere"] == [line["reason"] for line in lines_of(said) if line["event"] == "refresh_token.reused"]


@pytest.mark.anyio
async def test_a_thief_who_is_first_is_found_by_the_repeats_of_the_owner(service: Service) -> None:
    one = await sign_in(service)
    for expected in ([200], [200], [400]):
        parent = one.refresh
        one.refresh = (await service.refresh_elsewhere(one.client, parent)).json()["refresh_token"]
        assert expected == await statuses(one, parent)
    assert "repeated_elsewhere" == (await row(one))["end_cause"]


@pytest.mark.anyio
async def test_its_owner_sees_in_the_list_of_sessions_that_a_copy_was_presented(service: Service) -> None:
    here = await sign_in(service)
    there = await sign_in(service, here.user)
    await statuses(there, await rotate(there), elsewhere=True)
    listed = (await here.ask("GET", "/account/v1/sessions")).json()["items"]
    assert {True: 0, False: 1} == {session["current"]: session["repeats_elsewhere"] for session in listed}


@pytest.mark.anyio
@pytest.mark.own_service
@pytest.mark.parametrize("waited", [10, 60, 3600, 12 * 3600])
async def test_a_lost_response_signs_no_one_out_however_late_it_is_asked_for_again(
    service: Service, capfd: pytest.CaptureFixture[str], waited: int
) -> None:
    one = await sign_in(service)
    for _ in range(5):
        parent = await rotate(one)
        service.clock.now += waited
        assert [200] == await statuses(one, parent)
    assert not (await row(one))["is_revoked"]
    is_late = waited > LATE_SECONDS
    assert [("refresh_token.repeated", "late")] * (5 if is_late else 0) == await recorded(one)
    assert [("repeated_late" if is_late else "repeated", "info")] * 5 == repeats_of(capfd.readouterr().err)


@pytest.mark.anyio
@pytest.mark.own_service
async def test_a_generation_has_sixteen_late_repeats_and_the_next_one_ends_the_session(service: Service) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += LATE_SECONDS
    assert [200] * 15 == await statuses(one, *[parent] * 15)
    parent = await rotate(one)
    service.clock.now += LATE_SECONDS
    before = await row(one)
    assert 0 == before["late_repeats"]
    assert [200] * MAX_LATE_REPEATS == await statuses(one, *[parent] * MAX_LATE_REPEATS)
    # They lengthen neither the grace period nor the session.
    assert before | {"late_repeats": MAX_LATE_REPEATS} == await row(one)
    assert [400] == await statuses(one, parent)
    assert "reused" == (await row(one))["end_cause"]
    assert ("refresh_token.reused", "reused") == (await recorded(one))[-1]


@pytest.mark.anyio
@pytest.mark.own_service
async def test_a_late_repeat_from_elsewhere_ends_the_session(service: Service) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += LATE_SECONDS
    assert [400] == await statuses(one, parent, elsewhere=True)
    assert [("refresh_token.reused", "reused")] == await recorded(one)
    assert await one.is_over()


@pytest.mark.anyio
@pytest.mark.own_service
async def test_a_parent_whose_child_was_redeemed_ends_the_session_also_from_the_same_place(service: Service) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    await rotate(one)
    service.clock.now += LATE_SECONDS
    assert [400] == await statuses(one, parent)
    assert await one.is_over()


@pytest.mark.anyio
async def test_each_kind_of_repeat_is_a_metric(start_service: StartService) -> None:
    service = await start_service(internal_port=9000)
    one = await sign_in(service)
    parent = await rotate(one)
    await statuses(one, parent, parent)
    await statuses(one, parent, parent, elsewhere=True)
    service.clock.now += LATE_SECONDS
    await statuses(one, parent)
    text = (await service.internal("/metrics")).text
    for event, count in {"repeated": 2, "repeated_elsewhere": 2, "repeated_late": 1, "reused": 0, "refreshed": 6}.items():
        assert f'authmint_session_events_total{{event="{event}"}} {count}' in text


@pytest.mark.anyio
async def test_the_place_has_the_address_when_proxies_are_configured(start_service: StartService) -> None:
    for trusted, address, status in (("127.0.0.1", "198.51.100.9", 400), ("127.0.0.1", "203.0.113.250", 200),
                                     ("none", "198.51.100.9", 200), (None, "198.51.100.9", 200)):  # fmt: skip
        service = await start_service(trusted_proxies=trusted)
        service.http.headers["X-Forwarded-For"] = "203.0.113.7"
        one = await sign_in(service)
        parent = await rotate(one)
        service.clock.now += LATE_SECONDS
        service.http.headers["X-Forwarded-For"] = address
        assert [status] == await statuses(one, parent), (trusted, address)


@pytest.mark.anyio
async def test_no_other_header_changes_the_place(start_service: StartService) -> None:
    service = await start_service(trusted_proxies="none")
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += LATE_SECONDS
    service.http.headers |= {
        "X-Forwarded-For": "198.51.100.9", "Forwarded": "for=198.51.100.9", "X-Real-IP": "198.51.100.9",
        "Accept-Language": "xx", "Origin": "https://elsewhere.example", "Sec-CH-UA": "another", "Via": "1.1 elsewhere",
    }  # fmt: skip
    assert [200] == await statuses(one, parent)


@pytest.mark.anyio
@pytest.mark.own_service
@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_repeats_at_once_are_each_counted_and_none_is_lost(service: Service, is_elsewhere: bool) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += 0 if is_elsewhere else LATE_SECONDS
    ask = service.refresh_elsewhere if is_elsewhere else service.refresh
    answers = await asyncio.gather(*(ask(one.client, parent) for _ in range(MAX_LATE_REPEATS)))
    assert {200} == {answer.status_code for answer in answers}
    expected = (0, 1) if is_elsewhere else (MAX_LATE_REPEATS, 0)
    found = await row(one)
    assert expected == (found["late_repeats"], found["repeats"])
    assert (1 if is_elsewhere else MAX_LATE_REPEATS) == len(await recorded(one))


@pytest.mark.anyio
@pytest.mark.own_service
async def test_of_late_repeats_at_once_no_more_than_sixteen_get_the_child(service: Service) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += LATE_SECONDS
    answers = await asyncio.gather(*(service.refresh(one.client, parent) for _ in range(2 * MAX_LATE_REPEATS)))
    assert {200: MAX_LATE_REPEATS, 400: MAX_LATE_REPEATS} == Counter(answer.status_code for answer in answers)
    found = await row(one)
    assert (MAX_LATE_REPEATS, "reused") == (found["late_repeats"], found["end_cause"])


@pytest.mark.anyio
async def test_a_repeat_that_finds_the_row_changed_is_decided_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    record = RotationStore.record_repeat_elsewhere

    async def rotate_first(*values: Any, **named: Any) -> bool:
        with monkeypatch.context() as undone:
            undone.setattr(RotationStore, "record_repeat_elsewhere", record)
            await rotate(one)
        return await record(*values, **named)

    monkeypatch.setattr(RotationStore, "record_repeat_elsewhere", rotate_first)
    # Its child was redeemed between the reading and the record: it is older than the parent now.
    assert [400] == await statuses(one, parent, elsewhere=True)
    assert [("refresh_token.reused", "reused")] == await recorded(one)


@pytest.mark.anyio
async def test_a_reuse_by_many_at_once_is_counted_and_logged_once(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(internal_port=9000)
    one = await sign_in(service)
    oldest = await rotate(one)
    await rotate(one)
    answers = await asyncio.gather(*(service.refresh(one.client, oldest) for _ in range(8)))
    assert {(400, "invalid_grant")} == {(answer.status_code, answer.json()["error"]) for answer in answers}
    assert [("refresh_token.reused", "reused")] == await recorded(one)
    assert 1 == len([line for line in lines_of(capfd.readouterr().err) if line["event"] == "refresh_token.reused"])
    assert 'authmint_session_events_total{event="reused"} 1' in (await service.internal("/metrics")).text


def _fails(*_: object) -> Any:
    raise RuntimeError


@pytest.mark.anyio
@pytest.mark.own_service
@pytest.mark.parametrize(("waited", "is_elsewhere", "method"), [
    (LATE_SECONDS, False, "record_late_repeat"), (0, True, "record_repeat_elsewhere"),
])  # fmt: skip
async def test_a_repeat_that_cannot_be_recorded_gets_no_token(
    service: Service, monkeypatch: pytest.MonkeyPatch, waited: int, is_elsewhere: bool, method: str
) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    service.clock.now += waited
    with monkeypatch.context() as broken:
        broken.setattr(RotationStore, method, _fails)
        assert [500] == await statuses(one, parent, elsewhere=is_elsewhere)
    assert [200] == await statuses(one, parent, elsewhere=is_elsewhere)


@pytest.mark.anyio
async def test_a_repeat_for_a_scope_that_the_session_lacks_is_refused_and_counts_nothing(service: Service) -> None:
    one = await sign_in(service)
    parent = await rotate(one)
    form = {"grant_type": "refresh_token", "client_id": one.client.client_id, "refresh_token": parent, "scope": "admin"}
    answer = await service.http.post("/token", data=form, headers={"User-Agent": "elsewhere"})
    assert (400, "invalid_scope") == (answer.status_code, answer.json()["error"])
    assert [] == await recorded(one)


@pytest.mark.anyio
async def test_a_token_newer_than_its_row_is_refused_recorded_and_ends_nothing(
    start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(internal_port=9000)
    one = await sign_in(service)
    await rotate(one)
    await rotate(one)
    # As a backup of an hour ago has it.
    await service.database.execute("UPDATE authmint.sessions SET generation = 1 WHERE account_id = $1", one.user.id)
    assert [400] == await statuses(one, one.refresh)
    assert not (await row(one))["is_revoked"]
    assert [] == await recorded(one)
    (line,) = [line for line in lines_of(capfd.readouterr().err) if line["event"] == "refresh_token.newer_than_database"]
    assert ("error", one.user.id) == (line["level"], line["sub"])
    assert 'event="newer_than_database"} 1' in (await service.internal("/metrics")).text


@pytest.mark.anyio
@pytest.mark.own_service
async def test_introspection_says_what_a_redemption_from_anywhere_would_come_to(service: Service, secret: str) -> None:
    robot = await service.add_client(secret, grants=frozenset({"client_credentials", "password", "refresh_token"}))
    answer = await service.sign_in(robot, await service.add_account(), client_secret=secret)
    first = answer.json()["refresh_token"]

    async def is_active(token: str) -> bool:
        form = {"token": token, "client_id": robot.client_id, "client_secret": secret}
        return bool((await service.http.post("/introspect", data=form)).json()["active"])

    second = (await service.refresh(robot, first, client_secret=secret)).json()["refresh_token"]
    assert [True, True] == [await is_active(token) for token in (first, second)]
    # From the same place it would be redeemed, from elsewhere it would end the session. Who introspects is at neither.
    service.clock.now += LATE_SECONDS
    assert [False, True] == [await is_active(token) for token in (first, second)]
    assert 200 == (await service.refresh(robot, first, client_secret=secret)).status_code
    third = (await service.refresh(robot, second, client_secret=secret)).json()["refresh_token"]
    assert [False, True, True] == [await is_active(token) for token in (first, second, third)]


@pytest.mark.anyio
async def test_introspection_has_what_the_client_may_still_have(service: Service, secret: str) -> None:
    robot = await service.add_client(secret, grants=frozenset({"password", "refresh_token"}))
    token = (await service.sign_in(robot, await service.add_account(), client_secret=secret)).json()["refresh_token"]

    async def scope_after(scopes: str, grants: str) -> str | None:
        statement = "UPDATE authmint.clients SET scopes = $2, grants = $3 WHERE client_id = $1"
        await service.change(ChangeKind.CLIENT, robot.client_id, statement, robot.client_id, scopes.split(), grants.split())
        form = {"token": token, "client_id": robot.client_id, "client_secret": secret}
        answer: dict[str, Any] = (await service.http.post("/introspect", data=form)).json()
        assert answer["active"] == ("scope" in answer)
        return answer.get("scope")

    both = "password refresh_token"
    assert "orders:read orders:write" == await scope_after("orders:read orders:write", both)
    assert "orders:read" == await scope_after("orders:read something", both)
    # A redemption is refused: `invalid_scope`, `unauthorized_client`.
    assert await scope_after("something", both) is None
    assert await scope_after("orders:read orders:write", "password") is None
