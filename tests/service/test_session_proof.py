"""When all others are revoked, the session that presents its refresh token is kept, with a new one. Without it, none is."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from authmint_service.accounts import AccountStore
from authmint_service.sessions.rotation_rules import MAX_LATE_REPEATS
from tests.actors import OPERATOR
from tests.service.conftest import ISSUER, PASSWORD, Service, StartService
from tests.service.devices import REFUSED, SignedIn, sign_in

pytestmark = pytest.mark.anyio

PASSWORDS = {"current_password": PASSWORD, "new_password": "nine blue herons on a barge"}
OTHERS, PASSWORD_PATH = "/account/v1/sessions/revoke-others", "/account/v1/password"
BOTH = pytest.mark.parametrize("path", [OTHERS, PASSWORD_PATH], ids=["revoke others", "change the password"])


async def revoke(here: SignedIn, path: str = OTHERS, **proof: str) -> httpx2.Response:
    if path == OTHERS:
        return await here.service.http.post(path, data=proof, headers=here.bearer)
    return await here.service.http.put(path, data=PASSWORDS | proof, headers=here.bearer)


async def refresh(one: SignedIn, token: str) -> int:
    return (await one.service.refresh(one.client, token)).status_code


@BOTH
async def test_the_session_that_proves_itself_is_kept_with_a_new_token_and_copies_of_the_old_one_are_dead(
    service: Service, path: str
) -> None:
    here = await sign_in(service)
    there, of_another_person = await sign_in(service, here.user, here.client), await sign_in(service)
    answer = await revoke(here, path, refresh_token=here.refresh)
    assert (200, {"this_session", "refresh_token"}) == (answer.status_code, answer.json().keys())
    assert ("kept", "no-store") == (answer.json()["this_session"], answer.headers["cache-control"])
    assert await here.is_over()
    copied, here.refresh = here.refresh, answer.json()["refresh_token"]
    assert [True, False, False] == [await one.is_over() for one in (there, here, of_another_person)]
    assert 400 == await refresh(here, copied)
    # The copy is no reuse either, which would end the session: nothing is known of its handle any more.
    assert not await here.is_over()
    assert 200 == (await here.ask("GET", "/account/v1/sessions")).status_code


@BOTH
@pytest.mark.parametrize("proof", [{}, {"refresh_token": ""}], ids=["none", "empty"])
async def test_without_a_proof_this_session_is_revoked_as_well_and_the_response_says_so(
    service: Service, path: str, proof: dict[str, str]
) -> None:
    here = await sign_in(service)
    there, of_another_person = await sign_in(service, here.user, here.client), await sign_in(service)
    answer = await revoke(here, path, **proof)
    assert (200, {"this_session": "revoked"}) == (answer.status_code, answer.json())
    assert [True, True, False] == [await one.is_over() for one in (there, here, of_another_person)]
    assert 401 == (await revoke(here, path)).status_code


async def test_without_a_body_it_is_the_same(service: Service) -> None:
    here = await sign_in(service)
    answer = await service.http.post(OTHERS, headers=here.bearer)
    assert {"this_session": "revoked"} == answer.json()
    assert await here.is_over()


async def wrong_proofs(here: SignedIn, there: SignedIn) -> dict[str, str]:
    """Return what proves nothing about `here`, and ends no session."""
    service, of_another_person = here.service, await sign_in(here.service, client=here.client)
    elsewhere = await sign_in(service, here.user)
    head, tail = here.refresh[:-10], here.refresh[-10:]
    return {
        "malformed": "amrt_x", "a NUL": "a\0b",
        "altered": f"{head[:-1]}{chr(ord(head[-1]) ^ 1)}{tail}", "an access token": here.access,
        "of another session": there.refresh,
        "of another session of another client": elsewhere.refresh, "of another person": of_another_person.refresh,
        "very long": "amrt_" + "A" * 20_000,
    }  # fmt: skip


@BOTH
async def test_what_proves_nothing_is_refused_and_changes_nothing(service: Service, path: str) -> None:
    here = await sign_in(service)
    there = await sign_in(service, here.user, here.client)
    for name, token in (await wrong_proofs(here, there)).items():
        answer = await revoke(here, path, refresh_token=token)
        assert (400, "refresh_token_invalid") == (answer.status_code, answer.json()["code"]), name
        assert ["refresh_token"] == [error["field"] for error in answer.json()["errors"]]
        assert token not in answer.text
    assert [False, False] == [await one.is_over() for one in (here, there)]
    assert 200 == (await service.sign_in(here.client, here.user)).status_code


@BOTH
async def test_a_body_that_is_too_large_or_no_form_is_refused_and_changes_nothing(service: Service, path: str) -> None:
    here = await sign_in(service)
    method = "PUT" if path == PASSWORD_PATH else "POST"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers, content in (
        (form, b"&".join(b"%d=" % number + b"a" * 9_000 for number in range(4))), (form, b"&".join([b"a="] * 65)),
        (form, b"refresh_token=a&refresh_token=b"), (form, b"refresh_token=a&x=%ff"),
        ({"Content-Type": "application/json"}, b"{}"), ({"Content-Type": "text/plain"}, b"refresh_token=a"),
    ):  # fmt: skip
        answer = await service.http.request(method, path, content=content, headers=here.bearer | headers)
        assert (400, "invalid_request") == (answer.status_code, answer.json()["code"]), content[:40]
    assert not await here.is_over()


@BOTH
async def test_the_parent_of_the_current_token_is_no_proof_within_the_grace_period(service: Service, path: str) -> None:
    here = await sign_in(service)
    there, parent = await sign_in(service, here.user), here.refresh
    here.refresh = (await service.refresh(here.client, parent)).json()["refresh_token"]
    answer = await revoke(here, path, refresh_token=parent)
    assert (400, "refresh_token_invalid") == (answer.status_code, answer.json()["code"])
    assert [False, False] == [await one.is_over() for one in (here, there)]


@BOTH
async def test_the_parent_is_no_proof_also_when_the_client_may_have_nothing_of_the_session_any_more(
    service: Service, path: str
) -> None:
    client = await service.add_client(resources=("orders",), default_resources=("orders",))
    here = await sign_in(service, client=client)
    refreshed = (await service.refresh(client, here.refresh, resource=ISSUER)).json()
    parent, here.access, here.refresh = here.refresh, refreshed["access_token"], refreshed["refresh_token"]
    taken = "UPDATE authmint.clients SET resources = '{other}', default_resources = '{other}' WHERE client_id = $1"
    await service.database.execute(taken, client.client_id)
    answer = await revoke(here, path, refresh_token=parent)
    assert (400, "refresh_token_invalid") == (answer.status_code, answer.json()["code"])


@pytest.mark.own_service
async def test_a_parent_that_proves_nothing_is_no_late_repeat_as_it_brings_no_child(service: Service) -> None:
    here = await sign_in(service)
    parent, here.refresh = here.refresh, (await service.refresh(here.client, here.refresh)).json()["refresh_token"]
    service.clock.now += 31
    answers = [await revoke(here, refresh_token=parent) for _ in range(MAX_LATE_REPEATS + 1)]
    assert {(400, "refresh_token_invalid")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert not await here.is_over()


@pytest.mark.parametrize("waited", [0, 31])
@pytest.mark.own_service
async def test_a_parent_from_elsewhere_that_proves_nothing_counts_as_everywhere(service: Service, waited: int) -> None:
    here = await sign_in(service)
    parent, here.refresh = here.refresh, (await service.refresh(here.client, here.refresh)).json()["refresh_token"]
    service.clock.now += waited
    elsewhere = here.bearer | {"User-Agent": "elsewhere"}
    answer = await service.http.post(OTHERS, data={"refresh_token": parent}, headers=elsewhere)
    assert (400, "refresh_token_invalid") == (answer.status_code, answer.json()["code"])
    row = "SELECT repeats, end_cause FROM authmint.sessions WHERE account_id = $1"
    expected = {"repeats": 0, "end_cause": "reused"} if waited else {"repeats": 1, "end_cause": None}
    assert expected == dict(await service.database.fetch_row(row, here.user.id) or {})


@BOTH
async def test_an_old_generation_ends_this_session_as_reused_and_no_other(service: Service, path: str) -> None:
    here = await sign_in(service)
    there, ancestor = await sign_in(service, here.user), here.refresh
    for _ in range(2):
        here.refresh = (await service.refresh(here.client, here.refresh)).json()["refresh_token"]
    answer = await revoke(here, path, refresh_token=ancestor)
    assert (400, "refresh_token_invalid") == (answer.status_code, answer.json()["code"])
    assert [True, False] == [await one.is_over() for one in (here, there)]
    cause = "SELECT end_cause FROM authmint.sessions WHERE account_id = $1 AND revoked_at IS NOT NULL"
    assert "reused" == await service.database.fetch_value(cause, here.user.id)
    assert 200 == (await service.sign_in(here.client, here.user)).status_code


@pytest.mark.own_service
async def test_a_session_that_has_expired_keeps_nothing(service: Service) -> None:
    client = await service.add_client(session_idle_ttl=200)
    here = await sign_in(service, client=client)
    service.clock.now += 201
    # The access token lives on for a while.
    assert 401 == (await revoke(here, refresh_token=here.refresh)).status_code


async def beside(service: Service, *requests: Awaitable[httpx2.Response]) -> list[httpx2.Response]:
    return list(await asyncio.gather(*requests))


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.long)])
async def test_of_sessions_that_revoke_each_other_one_is_left_and_nothing_waits_for_ever(
    start_service: StartService, rounds: int
) -> None:
    """Two processes, four sessions at once."""
    processes = [await start_service() for _ in range(2)]
    for _ in range(rounds):
        first = await sign_in(processes[0])
        ones = [first] + [await sign_in(processes[0], first.user) for _ in range(3)]
        for number, one in enumerate(ones):
            one.service = processes[number % 2]
        answers = await beside(first.service, *(revoke(one, refresh_token=one.refresh) for one in ones))
        kept = [(one, answer) for one, answer in zip(ones, answers, strict=True) if answer.status_code == 200]
        assert {200, 400, 401} >= {answer.status_code for answer in answers}
        ((winner, answer),) = kept
        assert [True] * 4 == [await one.is_over() for one in ones]
        winner.refresh = answer.json()["refresh_token"]
        assert not await winner.is_over()


def handle_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.removeprefix("amrt_")[:-6] + "==")[1:21]


Other = Callable[[SignedIn], Awaitable[Any]]
BESIDE: dict[str, Other] = {
    "a refresh": lambda here: here.service.refresh(here.client, here.refresh),
    "two refreshes": lambda here: asyncio.gather(*(here.service.refresh(here.client, here.refresh) for _ in range(2))),
    "itself": lambda here: revoke(here, refresh_token=here.refresh),
    "a change of the password": lambda here: revoke(here, PASSWORD_PATH, refresh_token=here.refresh),
    "a revocation of all": lambda here: revoke(here),
    "disabling": lambda here: AccountStore(here.service.database).disable(here.user.id, here.service.clock(), actor=OPERATOR),
}


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("other", BESIDE)
async def test_beside_anything_else_a_session_never_has_two_tokens_that_are_good(
    start_service: StartService, other: str, rounds: int
) -> None:
    one = await start_service()
    another = await start_service(clock=one.clock)
    for _ in range(rounds):
        here = await sign_in(one)
        there = await sign_in(one, here.user)
        there_too = SignedIn(another, here.client, here.user, here.access, here.refresh)
        answer, second = await asyncio.gather(revoke(here, refresh_token=here.refresh), BESIDE[other](there_too))
        others = second if isinstance(second, list) else [second] if isinstance(second, httpx2.Response) else []
        received = {token for each in (answer, *others) if (token := each.json().get("refresh_token"))}
        lives = [token for token in {here.refresh, *received} if 200 == await refresh(here, token)]
        # A parent within its grace period is good as well; the child of the old token and the renewed one are never both.
        assert len({handle_of(token) for token in lives}) <= 1, (other, answer.json(), [each.json() for each in others])
        if answer.status_code == 200:
            assert await there.is_over()


async def test_the_kept_session_goes_on_as_the_same_session(service: Service) -> None:
    here = await sign_in(service)
    before = await service.database.fetch_row("SELECT * FROM authmint.sessions WHERE account_id = $1", here.user.id)
    renewed = (await revoke(here, refresh_token=here.refresh)).json()["refresh_token"]
    after = await service.database.fetch_row("SELECT * FROM authmint.sessions WHERE account_id = $1", here.user.id)
    assert before is not None
    assert after is not None
    assert {"handle"} == {name for name, value in before.items() if after[name] != value}
    parent = (await service.refresh(here.client, renewed, resource=ISSUER)).json()["refresh_token"]
    assert 200 == await refresh(here, parent)
    # Reuse is found among the tokens of the new handle as before.
    assert REFUSED == ((answer := await service.refresh(here.client, renewed)).status_code, answer.json().get("error"))
    assert 400 == await refresh(here, parent)


async def test_the_change_is_recorded_with_who_was_kept(service: Service) -> None:
    here = await sign_in(service)
    await sign_in(service, here.user)
    (sid,) = [one["id"] for one in (await here.ask("GET", "/account/v1/sessions")).json()["items"] if one["current"]]
    await revoke(here, refresh_token=here.refresh)
    statement = "SELECT details::text FROM authmint.events WHERE subject = $1 AND kind = 'sessions.revoked'"
    details = json.loads(await service.database.fetch_value(statement, here.user.id))
    expected = {"cause": "signed_out_elsewhere", "extent": "others", "count": 1, "sid": sid}
    assert expected == details
