"""`secrets list` shows what depends on which key, and `secrets drop` drops a refresh-token key on which nothing depends."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from authmint_service.administration.secrets import drop_refresh_token_key, read_secret_usage
from authmint_service.commands.secrets import rows_of
from authmint_service.database import ask_time
from authmint_service.errors import InvalidValue
from authmint_service.one_time_tokens import Kind, OneTimeTokens, Owner
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import SessionKeyUsage
from tests.actors import OPERATOR
from tests.service.conftest import Service, StartService, migrated_database
from tests.service.test_processes import BOTH, NEW, OLD, REFUSED, beat, readiness, refresh, sign_in

pytestmark = pytest.mark.anyio


@pytest.fixture
async def at(server_dsn: str) -> AsyncIterator[str]:
    """A database of the test's own: which keys are in use concerns all processes on it."""
    async with migrated_database(server_dsn) as dsn:
        yield dsn


async def listed(service: Service) -> dict[tuple[str, int], dict[str, Any]]:
    usage = await read_secret_usage(service.database, await ask_time(service.database))
    return {(row["kind"], row["id"]): row for row in rows_of(usage)}


async def drop(service: Service, key_id: int, *, force: bool) -> int:
    now = await ask_time(service.database)
    return await drop_refresh_token_key(service.database, key_id, now, actor=OPERATOR, force=force)


async def refusal(service: Service, key_id: int, *, force: bool = False) -> InvalidValue:
    with pytest.raises(InvalidValue) as refused:
        await drop(service, key_id, force=force)
    return refused.value


async def test_the_list_says_which_processes_have_a_key_and_what_depends_on_it(at: str, start_service: StartService) -> None:
    old = await start_service(at=at, refresh_token_keys=OLD)
    await sign_in(old)
    await sign_in(old)
    both = await start_service(at=at, refresh_token_keys=BOTH)
    old_id, both_id = (service.app.state.processes.process.id for service in (old, both))
    rows = await listed(both)
    assert {("refresh_token", 1), ("refresh_token", 2), ("key_encryption", 1)} == rows.keys()
    one, two, encryption = rows["refresh_token", 1], rows["refresh_token", 2], rows["key_encryption", 1]
    assert ([old_id, both_id], [], 2, None) == tuple(
        one[name] for name in ("processes", "lacking_processes", "sessions", "signing_keys")
    )
    assert ([both_id], [old_id], 0) == (two["processes"], two["lacking_processes"], two["sessions"])
    assert [(True, True), (False, False)] == [(row["current"], row["in_use"]) for row in (one, two)]
    assert (1, None, True) == (encryption["signing_keys"], encryption["sessions"], encryption["in_use"])
    assert json.loads(json.dumps(list(rows.values())))
    await old.stop()
    await beat(both)
    await sign_in(both)
    rows = await listed(both)
    assert [(False, 2), (True, 1)] == [
        (rows["refresh_token", n]["current"], rows["refresh_token", n]["sessions"]) for n in (1, 2)
    ]


async def test_a_key_is_dropped_when_no_live_session_depends_on_it(at: str, start_service: StartService) -> None:
    old = await start_service(at=at, refresh_token_keys=OLD)
    client, token = await sign_in(old)
    await old.stop()
    service = await start_service(at=at, refresh_token_keys=BOTH)
    error = await refusal(service, 1)
    assert ("key_id_in_use", 1) == (error.code, error.values["sessions"])
    assert 200 == (await refresh(service, client, token))[0]
    await service.http.post("/revoke", data={"client_id": client.client_id, "token": token})
    assert 0 == await drop(service, 1, force=False)
    # Now it can be removed from the settings.
    assert (200, "ok") == (
        (found := await readiness(await start_service(at=at, refresh_token_keys=NEW)))[0],
        found[1]["status"],
    )
    assert "key_id_unknown" == (await refusal(service, 1)).code
    kinds = "SELECT kind FROM authmint.events WHERE kind LIKE '%dropped'"
    assert ["refresh_token_key.dropped"] == [row["kind"] for row in await service.database.fetch_all(kinds)]


async def test_force_ends_the_sessions_of_the_key_and_no_other(at: str, start_service: StartService) -> None:
    old = await start_service(at=at, refresh_token_keys=OLD)
    of_old = [await sign_in(old) for _ in range(3)]
    await old.stop()
    service = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(service)
    assert 3 == await drop(service, 1, force=True)
    for ended in of_old:
        assert REFUSED == await refresh(service, *ended)
    assert 200 == (await refresh(service, client, token))[0]
    causes = "SELECT end_cause, count(*) AS sessions FROM authmint.sessions GROUP BY end_cause ORDER BY 2"
    assert [(None, 1), ("key_dropped", 3)] == [tuple(row) for row in await service.database.fetch_all(causes)]
    details = "SELECT details FROM authmint.events WHERE kind = 'sessions.revoked'"
    (event,) = await service.database.fetch_all(details)
    assert {"cause": "key_dropped", "key_id": 1, "count": 3} == json.loads(event["details"])


async def test_many_sessions_are_counted_and_ended_in_batches(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=OLD)
    for _ in range(5):
        await sign_in(service)
    now, usage = await ask_time(service.database), SessionKeyUsage(service.database, batch=2)
    assert {1: 5} == await usage.count(now)
    assert {} == await usage.count(now + 1000 * 86_400)
    assert 0 == await usage.revoke(2, now, actor=OPERATOR)
    assert 5 == await usage.revoke(1, now, actor=OPERATOR)
    assert {} == await usage.count(now)
    counts = "SELECT details->>'count' AS count FROM authmint.events WHERE kind = 'sessions.revoked' ORDER BY id"
    assert ["2", "2", "1"] == [row["count"] for row in await service.database.fetch_all(counts)]


async def test_the_key_for_new_tokens_cannot_be_dropped(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH)
    await sign_in(service)
    for force in (False, True):
        assert "key_id_current" == (await refusal(service, 2, force=force)).code
    # Nor that of the old processes during a roll-out.
    await start_service(at=at, refresh_token_keys=OLD)
    assert "key_id_current" == (await refusal(service, 1)).code


async def test_sessions_that_do_not_say_their_key_may_depend_on_it(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(service)
    await service.database.execute("UPDATE authmint.sessions SET refresh_key_id = NULL")
    error = await refusal(service, 1)
    assert ("key_id_in_use", 0, 1) == (error.code, error.values["sessions"], error.values["unknown"])
    assert 200 == (await refresh(service, client, token))[0]
    assert "key_id_unknown" == (await refusal(service, 1)).code


async def test_a_link_that_is_still_good_keeps_its_key(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH)
    now = await ask_time(service.database)
    tokens = OneTimeTokens(service.database, SecretKeys({1: secrets.token_bytes(32)}))
    await tokens.create(Kind(name="a_link", lifetime=3600), Owner(), now)
    error = await refusal(service, 1)
    assert ("key_id_in_use", 1) == (error.code, error.values["one_time_tokens"])
    assert 1 == (await listed(service))["refresh_token", 1]["one_time_tokens"]
