"""An account has at most so many live sessions with one client: the oldest goes, and no sign-in is refused."""

import asyncio
import json
from typing import Any

import pytest

from authmint_service.errors import DatabaseUnavailable
from authmint_service.sessions import SessionLimit
from tests.service.conftest import Service, StartService
from tests.service.devices import SignedIn, sign_in
from tests.service.test_metrics import metrics, sample

pytestmark = pytest.mark.anyio


async def sign_in_often(service: Service, first: SignedIn, count: int) -> list[SignedIn]:
    """Return `count` sessions beside the first, each of them younger than the one before."""
    signed_in = []
    for _ in range(count):
        service.clock.now += 1
        signed_in.append(await sign_in(service, first.user, first.client))
    return signed_in


async def live_sessions(service: Service, one: SignedIn) -> int:
    statement = "SELECT count(*) FROM authmint.sessions WHERE account_id = $1 AND client_id = $2 AND revoked_at IS NULL"
    return int(await service.database.fetch_value(statement, one.user.id, one.client.client_id))


async def test_the_oldest_session_goes_and_its_client_hears_invalid_grant(start_service: StartService) -> None:
    service = await start_service(sessions_per_client=3)
    first = await sign_in(service)
    other_client, other_person = await sign_in(service, first.user), await sign_in(service, client=first.client)
    second, *others = await sign_in_often(service, first, 4)
    assert [True, True, False, False, False] == [await one.is_over() for one in (first, second, *others)]
    assert [False, False] == [await one.is_over() for one in (other_client, other_person)]
    statement = "SELECT end_cause FROM authmint.sessions WHERE account_id = $1 AND revoked_at IS NOT NULL"
    rows = await service.database.fetch_all(statement, first.user.id)
    assert ["evicted", "evicted"] == [row["end_cause"] for row in rows]
    assert 2 == sample(await metrics(service), 'authmint_session_events_total{event="evicted"}')


async def test_each_eviction_is_recorded_with_the_session_that_ended(start_service: StartService) -> None:
    service = await start_service(sessions_per_client=1)
    first = await sign_in(service)
    await sign_in_often(service, first, 1)
    statement = """
        SELECT e.details::text, e.actor_kind, e.client_id, e.subject::text
          FROM authmint.events AS e JOIN authmint.sessions AS s ON s.id::text = e.details ->> 'sid'
         WHERE s.account_id = $1 AND s.end_cause = 'evicted' AND e.kind = 'session.revoked'
    """
    row = await service.database.fetch_row(statement, first.user.id)
    assert row is not None
    assert {"cause", "sid"} == json.loads(row["details"]).keys()
    assert ("account", first.client.client_id, first.user.id) == (row["actor_kind"], row["client_id"], row["subject"])


async def test_a_session_that_has_expired_takes_no_place(start_service: StartService) -> None:
    service = await start_service(sessions_per_client=2)
    client = await service.add_client(session_idle_ttl=600)
    idle = await sign_in(service, client=client)
    service.clock.now += 300
    kept = await sign_in(service, idle.user, client)
    service.clock.now += 301
    await sign_in(service, idle.user, client)
    assert not await kept.is_over()


async def test_the_session_that_was_just_started_is_never_the_one_that_goes(start_service: StartService) -> None:
    """Not even by a clock that stands still, or was set back."""
    service = await start_service(sessions_per_client=1)
    one = await sign_in(service)
    for seconds in (0, 0, -100, 0):
        service.clock.now += seconds
        newer = await sign_in(service, one.user, one.client)
        assert [True, False] == [await each.is_over() for each in (one, newer)]
        newer.refresh = one.refresh = ""
        one = await sign_in(service, one.user, one.client)


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)])
async def test_after_sign_ins_at_the_same_time_there_are_not_too_many(start_service: StartService, rounds: int) -> None:
    one = await start_service(sessions_per_client=3)
    another = await start_service(sessions_per_client=3, clock=one.clock)
    first = await sign_in(one)
    for _ in range(rounds):
        answers = await asyncio.gather(*(
            service.sign_in(first.client, first.user) for service in (one, another) for _ in range(5)
        ))  # fmt: skip
        assert {200} == {answer.status_code for answer in answers}
        assert 1 <= await live_sessions(one, first) <= 3


async def test_when_the_oldest_cannot_be_ended_the_sign_in_succeeds_and_the_next_one_ends_it(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(sessions_per_client=2)
    first = await sign_in(service)
    with monkeypatch.context() as fault:
        fault.setattr(SessionLimit, "_EVICT", "SELECT pg_sleep(0), 1 / 0")
        fault.setattr("authmint_service.database.Database.fetch_value", failing_for("1 / 0", service))
        await sign_in_often(service, first, 3)
    assert 4 == await live_sessions(service, first)
    await sign_in_often(service, first, 1)
    assert 2 == await live_sessions(service, first)


def failing_for(text: str, service: Service) -> Any:
    fetch_value = type(service.database).fetch_value

    async def fail(self: Any, statement: str, *values: object) -> Any:
        if text in statement:
            raise DatabaseUnavailable("a fault")
        return await fetch_value(self, statement, *values)

    return fail


async def test_a_flood_of_one_person_is_found_by_an_index_and_not_by_reading_what_ended(service: Service) -> None:
    one = await sign_in(service)
    ended = """
        INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences, started_at, rotated_at,
                                       idle_expires_at, expires_at, revoked_at, end_cause)
        SELECT uuid_send(gen_random_uuid()), gen_random_uuid(), s.account_id, s.client_id, '{}', '{}', s.started_at,
               s.started_at, s.idle_expires_at, s.expires_at, CASE WHEN number > 60 THEN s.started_at END,
               CASE WHEN number > 60 THEN 'evicted' END
          FROM authmint.sessions AS s, generate_series(1, 5000) AS number WHERE s.account_id = $1
    """
    await service.database.execute(ended, one.user.id)
    await service.database.execute("ANALYZE authmint.sessions")
    values = [f"'{one.user.id}'", f"'{one.client.client_id}'", f"'{one.user.id}'", "now()", "49", "100", "'evicted'"]
    values += ["'k'", "'account'", "NULL", "NULL", "NULL", "NULL", "'{}'", "NULL", "NULL", "NULL", "now()"]
    statement = SessionLimit._EVICT
    for number in range(len(values), 0, -1):
        statement = statement.replace(f"${number}", values[number - 1])
    plan = "\n".join(row[0] for row in await service.database.fetch_all(f"EXPLAIN {statement}"))
    assert "sessions_live" in plan
    assert "Seq Scan on sessions" not in plan
