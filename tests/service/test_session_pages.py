"""Lists that may grow come in pages, in an order that never changes.

Kind: work and memory in proportion to what one account has. 100,000 sessions were one response of 25 MB, and stopped the
event loop for 4 s.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from authmint_service.endpoints.paging import DEFAULT_LIMIT, MAX_LIMIT, Position
from tests.service.conftest import Service
from tests.service.devices import SignedIn, sign_in
from tests.service.test_admin_sessions import administrator
from tests.service.test_revocation_list import session_of

pytestmark = pytest.mark.anyio

MINE = "/account/v1/sessions"
_COPY = """
    INSERT INTO authmint.sessions (handle, id, account_id, client_id, generation, scopes, audiences, started_at, rotated_at,
                                   idle_expires_at, expires_at, tokens_until, refresh_key_id)
    SELECT decode(md5(random()::text || number), 'hex'), gen_random_uuid(), account_id, client_id, 0, scopes, audiences,
           started_at - number * interval '1 second', rotated_at, idle_expires_at, expires_at, tokens_until, refresh_key_id
      FROM authmint.sessions, generate_series(1, $2::int) AS number WHERE id = $1
"""


async def pages(service: Service, path: str, headers: Mapping[str, str], limit: int) -> list[list[str]]:
    """Return the ids of each page, from the first one to the last one."""
    found, cursor = [], ""
    while True:
        answer = await service.http.get(f"{path}?limit={limit}{cursor}", headers=headers)
        assert 200 == answer.status_code, answer.text
        page: dict[str, Any] = answer.json()
        found.append([session["id"] for session in page["items"]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def five_sessions(service: Service) -> list[SignedIn]:
    first = await sign_in(service)
    return [first, *[await sign_in(service, first.user) for _ in range(4)]]


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2, 2, 1]), (5, [5]), (4, [4, 1]), (1, [1] * 5)])
async def test_every_session_is_on_one_page(service: Service, secret: str, limit: int, sizes: list[int]) -> None:
    """All five begin at one moment, so that only their ids order them."""
    signed_in = await five_sessions(service)
    admins = await administrator(service, secret)
    for path, headers in (
        (MINE, signed_in[0].bearer), (f"/admin/v1/accounts/{signed_in[0].user.id}/sessions", admins),
    ):  # fmt: skip
        found = await pages(service, path, headers, limit)
        assert sizes == [len(page) for page in found]
        assert {session_of(one.access) for one in signed_in} == {session for page in found for session in page}


@pytest.mark.own_service
async def test_a_session_that_is_refreshed_between_two_pages_is_not_left_out(service: Service) -> None:
    signed_in: list[SignedIn] = []
    for _ in range(4):
        service.clock.now += 3700
        signed_in.append(await sign_in(service, signed_in[0].user if signed_in else None))
    oldest, newest = signed_in[0], signed_in[-1]
    first = (await newest.ask("GET", f"{MINE}?limit=2")).json()
    assert 200 == (await service.refresh(oldest.client, oldest.refresh)).status_code
    second = (await newest.ask("GET", f"{MINE}?limit=2&cursor={first['next_cursor']}")).json()
    listed = [session["id"] for session in first["items"] + second["items"]]
    assert [session_of(one.access) for one in reversed(signed_in)] == listed
    assert second["next_cursor"] is None


async def test_a_cursor_of_another_account_shows_none_of_its_sessions(service: Service) -> None:
    signed_in, other = await five_sessions(service), await sign_in(service)
    cursor = (await signed_in[0].ask("GET", f"{MINE}?limit=1")).json()["next_cursor"]
    own = session_of(other.access)
    ids = [session["id"] for session in (await other.ask("GET", f"{MINE}?cursor={cursor}")).json()["items"]]
    assert ids in ([], [own])


@pytest.mark.parametrize("character", ["A", "_", "f", "-"])
async def test_any_cursor_of_the_right_form_is_a_position(service: Service, character: str) -> None:
    here = await sign_in(service)
    answer = await here.ask("GET", f"{MINE}?cursor={character * 32}")
    assert 200 == answer.status_code
    assert len(answer.json()["items"]) <= 1


def test_a_position_survives_its_cursor() -> None:
    for microseconds in (0, 1_800_000_000_123_456, -5, 2**62):
        position = Position(microseconds, str(uuid.uuid4()))
        assert position == Position.from_cursor(position.to_cursor())


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.long)])
async def test_a_page_of_many_sessions_is_as_small_as_of_few(service: Service, secret: str, count: int) -> None:
    here = await sign_in(service)
    for _ in range(0, count, 1000):
        # A statement has some seconds.
        await service.database.execute(_COPY, session_of(here.access), 1000)
    admins = await administrator(service, secret)
    started = time.process_time()
    mine = (await here.ask("GET", MINE)).json()
    largest = await service.http.get(f"/admin/v1/accounts/{here.user.id}/sessions?limit={MAX_LIMIT}", headers=admins)
    seconds = time.process_time() - started
    assert (DEFAULT_LIMIT, MAX_LIMIT) == (len(mine["items"]), len(largest.json()["items"]))
    assert len(json.dumps(mine)) < 40_000
    assert len(largest.content) < 200_000
    # The time of this process, in which the event loop is: PostgreSQL's is its own.
    assert seconds < 0.5
