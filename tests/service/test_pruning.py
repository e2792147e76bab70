"""Expired and revoked sessions are deleted."""

import pytest

from authmint.jose import decode_base64url, read_json_object
from authmint_service.sessions import SessionLifetimes, SessionStore, prune
from tests.service.conftest import Service
from tests.service.devices import SignedIn, sign_in

pytestmark = pytest.mark.anyio


def sid_of(one: SignedIn) -> str:
    return str(read_json_object(decode_base64url(one.access.split(".")[1]))["sid"])


async def test_sessions_that_ended_a_day_ago_are_pruned_in_batches_and_live_ones_stay(service: Service) -> None:
    """One for each reason: too old, idle for too long, revoked."""
    old = await sign_in(service, client=await service.add_client(session_ttl=3600))
    idle = await sign_in(service, client=await service.add_client(session_idle_ttl=3600))
    revoked, live = await sign_in(service), await sign_in(service)
    await revoked.ask("DELETE", "/account/v1/sessions/current")
    ids = [sid_of(one) for one in (old, idle, revoked, live)]
    store = SessionStore(service.database, SessionLifetimes(grace=30, idle=86_400 * 14, absolute=86_400 * 90, access_token=300))

    async def remaining() -> list[bool]:
        rows = await service.database.fetch_all("SELECT id FROM authmint.sessions WHERE id = ANY($1::uuid[])", ids)
        return [session_id in {str(row["id"]) for row in rows} for session_id in ids]

    await prune(store, service.clock() + 86_399, pause=0)
    assert [True, True, True, True] == await remaining()
    await prune(store, service.clock() + 86_401, pause=0)
    assert [True, True, False, True] == await remaining()
    await prune(store, service.clock() + 3600 + 86_401, pause=0)
    assert [False, False, False, True] == await remaining()
    assert not await live.is_over()


async def test_pruning_walks_the_whole_table_a_few_sessions_at_a_time(service: Service) -> None:
    for _ in range(3):
        await sign_in(service)
    store = SessionStore(service.database, SessionLifetimes(grace=30, idle=3600, absolute=3600, access_token=300))
    count = await service.database.fetch_value("SELECT count(*) FROM authmint.sessions")
    handles, last = [b""], (await store.prune(0, after=b"", limit=2))[0]
    while last is not None:
        handles.append(last)
        last = (await store.prune(0, after=last, limit=2))[0]
    assert -(-count // 2) == len(handles) - 1
    assert sorted(handles) == handles
