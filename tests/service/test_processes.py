"""Processes with different secret keys on one database: which key each uses, and what it responds to the others' tokens."""

import asyncio
import base64
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from authmint_service import __version__
from authmint_service.clients import Client
from authmint_service.commands.secrets import COLUMNS
from authmint_service.database import Database
from authmint_service.processes import (
    HEARTBEAT_SECONDS,
    OFFERED_SECONDS,
    Processes,
    ProcessesUnknown,
    ProcessStore,
    SecretKind,
)
from authmint_service.processes.store import LIVE_SECONDS
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshToken, RefreshTokenCodec
from authmint_service.signing_keys import SigningKeyStore, rotate_emergency
from authmint_service.signing_keys.emergency import PAUSE_SECONDS
from tests.actors import OPERATOR
from tests.service.conftest import SECRET_KEYS, Clock, Service, StartService, make_settings, migrated_database
from tests.service.signing import new_encryption_key, policy

pytestmark = pytest.mark.anyio

OLD = SECRET_KEYS["refresh_token_keys"]
NEW = new_encryption_key(2)
BOTH = f"{NEW},{OLD}"
OLD_ENCRYPTION = SECRET_KEYS["key_encryption_keys"]
BOTH_ENCRYPTION = f"{new_encryption_key(2)},{OLD_ENCRYPTION}"
REFUSED = (400, "invalid_grant")
ELSEWHERE = (503, "temporarily_unavailable")
REFRESH, ENCRYPTION = SecretKind.REFRESH_TOKEN, SecretKind.KEY_ENCRYPTION


@pytest.fixture
async def at(server_dsn: str) -> AsyncIterator[str]:
    """A database of the test's own: which keys are in use concerns all processes on it."""
    async with migrated_database(server_dsn) as dsn:
        yield dsn


async def beat(*services: Service) -> None:
    """Let each process write its heartbeat, and read what the others have written."""
    for service in services:
        await service.app.state.processes.beat()


def key_id_of(refresh_token: str) -> int:
    return base64.urlsafe_b64decode(refresh_token[5:9])[0]


async def sign_in(service: Service) -> tuple[Client, str]:
    client = await service.add_client()
    response = await service.sign_in(client, await service.add_account())
    assert 200 == response.status_code, response.text
    return client, response.json()["refresh_token"]


async def refresh(service: Service, client: Client, token: str) -> tuple[int, str]:
    """Return the status, and the new refresh token or the code of the error."""
    response = await service.refresh(client, token)
    assert (503 == response.status_code) == ("Retry-After" in response.headers)
    members = response.json()
    return response.status_code, members.get("refresh_token") or members["error"]


async def readiness(service: Service) -> tuple[int, dict[str, Any]]:
    response = await service.http.get("/readyz")
    return response.status_code, response.json()["checks"]["secret_keys"]


async def die(service: Service, seconds_ago: float = LIVE_SECONDS + 1) -> None:
    """Make the process one that wrote its last heartbeat some seconds ago. It goes on responding, and writes no other."""
    statement = "UPDATE authmint.processes SET heartbeat_at = clock_timestamp() - $2 * interval '1 second' WHERE id = $1"
    await service.database.execute(statement, service.app.state.processes.process.id, seconds_ago)


async def test_a_new_key_is_used_once_every_live_process_has_it_and_the_log_says_so(
    at: str, start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    old = await start_service(at=at, refresh_token_keys=OLD)
    both = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(both)
    assert 1 == key_id_of(token)
    status, token = await refresh(old, client, token)
    assert 200 == status
    await old.stop()
    capfd.readouterr()
    await beat(both)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "secret_key.selected" in line]
    assert '"secret_kind":"refresh_token","key_id":2' in line
    assert 2 == key_id_of((await sign_in(both))[1])
    # A session keeps the key that it began with.
    status, token = await refresh(both, client, token)
    assert (200, 1) == (status, key_id_of(token))


async def test_a_process_that_has_died_is_waited_for_only_until_its_heartbeat_is_old(
    at: str, start_service: StartService
) -> None:
    old = await start_service(at=at, refresh_token_keys=OLD)
    both = await start_service(at=at, refresh_token_keys=BOTH)
    for seconds, key_id in ((LIVE_SECONDS - 5, 1), (LIVE_SECONDS + 1, 2), (-3600.0, 2)):
        await die(old, seconds)
        await beat(both)
        assert key_id == key_id_of((await sign_in(both))[1]), seconds


async def test_a_token_that_another_process_can_read_is_503_and_succeeds_there(
    at: str, start_service: StartService, secret: str
) -> None:
    both = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(both)
    assert 2 == key_id_of(token)
    old = await start_service(at=at, refresh_token_keys=OLD)
    assert ELSEWHERE == await refresh(old, client, token)
    gateway = await old.add_client(secret)
    form = {"client_id": gateway.client_id, "client_secret": secret, "token": token}
    for path, more in (("/introspect", form), ("/revoke", {"client_id": client.client_id, "token": token})):
        response = await old.http.post(path, data=more)
        assert (503, True) == (response.status_code, "Retry-After" in response.headers), path
    status, token = await refresh(both, client, token)
    assert 200 == status
    # Nothing was revoked, and a 200 to a revocation is true.
    assert 200 == (await both.http.post("/revoke", data={"client_id": client.client_id, "token": token})).status_code
    assert REFUSED == await refresh(both, client, token)


async def test_a_token_that_no_live_process_can_read_is_refused_without_a_question_to_the_database(
    at: str, start_service: StartService
) -> None:
    service = await start_service(at=at, refresh_token_keys=OLD)
    client = await service.add_client()
    heartbeats = "SELECT heartbeat_at FROM authmint.processes"
    before = await service.database.fetch_value(heartbeats)
    for key_id in (0, *range(2, 40), 255):
        codec = RefreshTokenCodec(SecretKeys({key_id: secrets.token_bytes(32)}))
        text = codec.encode(RefreshToken(key_id, secrets.token_bytes(20), 3))
        assert REFUSED == await refresh(service, client, text), key_id
    assert before == await service.database.fetch_value(heartbeats)


async def test_a_refresh_does_not_wait_for_a_reading_of_the_others_as_it_makes_nothing_with_a_new_key(
    at: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(service)
    # As after a pause: the others may have taken this process for dead.
    monkeypatch.setattr(service.app.state.processes, "_read_at", float("-inf"))
    assert 503 == (await service.sign_in(client, await service.add_account())).status_code
    assert 200 == (await refresh(service, client, token))[0]


async def test_a_reading_that_is_old_is_renewed_once_for_all_who_wait(at: str) -> None:
    elapsed, database = Clock(0.0), Database(size=4)
    keys = {kind: SecretKeys({1: secrets.token_bytes(32)}) for kind in SecretKind}
    async with database.open(at):
        processes = Processes(database, keys, elapsed, version=__version__)
        with pytest.raises(ProcessesUnknown):
            processes.current_id(REFRESH)
        counted = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        assert await database.fetch_value(counted) >= 0

        async def heartbeat() -> object:
            return await database.fetch_value("SELECT heartbeat_at FROM authmint.processes")

        await asyncio.gather(*(processes.have(REFRESH, number) for number in range(2, 50)))
        first = await heartbeat()
        elapsed.now = OFFERED_SECONDS - 0.1
        assert not await processes.have(REFRESH, 2)
        assert first == await heartbeat()
        elapsed.now = OFFERED_SECONDS + 0.1
        assert not await processes.have(REFRESH, 2)
        assert first != (second := await heartbeat())
        # A process that was paused may have been taken for dead: it asks before it makes something new.
        assert 1 == processes.current_id(REFRESH)
        elapsed.now += LIVE_SECONDS + 1
        with pytest.raises(ProcessesUnknown):
            processes.current_id(REFRESH)
        await processes.ensure_known()
        assert 1 == processes.current_id(REFRESH)
        assert second != await heartbeat()


async def test_of_two_processes_that_start_at_once_one_sees_the_other(at: str) -> None:
    keys = {number: secrets.token_bytes(32) for number in (1, 2)}
    old, both = ({kind: SecretKeys({key: keys[key] for key in ids}) for kind in SecretKind} for ids in ((1,), (2, 1)))
    async with (first := Database(size=2)).open(at), (second := Database(size=2)).open(at):
        for _ in range(20):
            one = Processes(first, old, Clock(), version=__version__)
            other = Processes(second, both, Clock(), version=__version__)
            await asyncio.gather(one.beat(), other.beat())
            assert 1 == other.current_id(REFRESH) or await one.have(REFRESH, 2)
            await asyncio.gather(one.leave(), other.leave())


async def test_an_old_process_that_starts_again_makes_the_others_go_back(at: str, start_service: StartService) -> None:
    both = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(both)
    old = await start_service(at=at, refresh_token_keys=OLD)
    assert ELSEWHERE == await refresh(old, client, token)
    await beat(both)
    _, other = await sign_in(both)
    assert [2, 1] == [key_id_of(text) for text in (token, other)]
    status, token = await refresh(both, client, token)
    assert (200, 2) == (status, key_id_of(token))


async def test_a_process_is_not_ready_without_a_key_in_use_and_says_which(at: str, start_service: StartService) -> None:
    both = await start_service(at=at, refresh_token_keys=BOTH)
    await sign_in(both)
    assert (200, "ok") == ((found := await readiness(both))[0], found[1]["status"])
    for keys, missing in ((OLD, 2), (new_encryption_key(7), 2)):
        lacking = await start_service(at=at, refresh_token_keys=keys)
        status, check = await readiness(lacking)
        assert (503, "missing") == (status, check["status"])
        assert f"lacks the key {missing}, on which sessions depend" in check["message"]
        assert f"authmint-service secrets drop {missing} --force" in check["message"]
        await lacking.stop()


async def test_a_process_has_a_row_before_it_serves_and_none_after_a_clean_stop(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH, key_encryption_keys=BOTH_ENCRYPTION)
    (row,) = await service.database.fetch_all("SELECT * FROM authmint.processes")
    assert ([2, 1], [2, 1], __version__) == (row["refresh_token_key_ids"], row["key_encryption_key_ids"], row["version"])
    await service.stop()
    assert [] == await service.database.fetch_all("SELECT * FROM authmint.processes")


async def test_the_key_of_a_session_is_noted_at_its_start_and_by_a_refresh(at: str, start_service: StartService) -> None:
    service = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(service)
    assert 2 == await service.database.fetch_value("SELECT refresh_key_id FROM authmint.sessions")
    # As a session has it that began before this was noted.
    await service.database.execute("UPDATE authmint.sessions SET refresh_key_id = NULL")
    assert 200 == (await refresh(service, client, token))[0]
    assert 2 == await service.database.fetch_value("SELECT refresh_key_id FROM authmint.sessions")


async def test_derived_keys_follow_the_choice() -> None:
    chosen = [1]
    keys = SecretKeys({2: secrets.token_bytes(32), 1: secrets.token_bytes(32)}).choosing(lambda: chosen[0])
    derived = keys.derive("another purpose")
    assert (1, 1) == (keys.current_id, derived.current_id)
    chosen[0] = 2
    assert (2, 2) == (keys.current_id, derived.current_id)


async def encryption_ids(service: Service) -> list[int]:
    rows = await service.database.fetch_all("SELECT encryption_key_id FROM authmint.signing_keys ORDER BY published_at")
    return [row["encryption_key_id"] for row in rows]


async def test_a_signing_key_is_encrypted_so_that_every_process_can_use_it(
    at: str, start_service: StartService, polls_often: None
) -> None:
    both = await start_service(at=at, key_encryption_keys=BOTH_ENCRYPTION)
    old = await start_service(at=at, key_encryption_keys=OLD_ENCRYPTION, clock=both.clock)
    assert [2] == await encryption_ids(both)
    await beat(both)
    # The next signing key is due.
    both.clock.now += 100 * 86_400
    async with asyncio.timeout(10):
        while len(await encryption_ids(both)) < 2:
            await asyncio.sleep(0.02)
    assert [2, 1] == await encryption_ids(both)
    status, check = await readiness(old)
    assert (503, "missing") == (status, check["status"])
    assert "AUTHMINT_KEY_ENCRYPTION_KEYS lacks the key 2" in check["message"]


async def test_what_only_another_process_can_verify_is_503_there_and_401_when_it_is_gone(
    at: str, start_service: StartService, secret: str
) -> None:
    both = await start_service(at=at, key_encryption_keys=BOTH_ENCRYPTION)
    client, gateway = await both.add_client(), await both.add_client(secret)
    token = (await both.sign_in(client, await both.add_account())).json()["access_token"]
    old = await start_service(at=at, key_encryption_keys=OLD_ENCRYPTION)

    async def answers(service: Service) -> list[int]:
        bearer = {"Authorization": f"Bearer {token}"}
        form = {"client_id": gateway.client_id, "client_secret": secret, "token": token}
        responses = [
            await service.http.get("/account/v1", headers=bearer),
            await service.http.post("/introspect", data=form),
            await service.http.get("/.well-known/jwks.json"),
            await service.sign_in(client, await service.add_account()),
        ]
        for response in responses:
            assert (503 == response.status_code) == ("Retry-After" in response.headers), response.text
        return [response.status_code for response in responses]

    assert [200, 200, 200, 200] == await answers(both)
    assert [503, 503, 503, 503] == await answers(old)
    await both.stop()
    await beat(old)
    # No process can use the key any more. What was signed with it is refused, and there is no key to sign with.
    assert [503, 200, 503, 503] == await answers(old)


async def test_a_command_encrypts_with_a_key_that_all_live_processes_have(at: str, start_service: StartService) -> None:
    old = await start_service(at=at, key_encryption_keys=OLD_ENCRYPTION)
    store = ProcessStore(old.database)
    both = make_settings(at, key_encryption_keys=BOTH_ENCRYPTION).encryption_keys
    other = make_settings(at, key_encryption_keys=new_encryption_key(3)).encryption_keys
    assert 1 == (found.current_id if (found := await store.shared_keys(ENCRYPTION, both)) else None)
    assert await store.shared_keys(ENCRYPTION, other) is None
    await old.stop()
    assert 2 == (found.current_id if (found := await store.shared_keys(ENCRYPTION, both)) else None)


async def test_after_a_rollback_signing_keys_are_encrypted_again_with_the_key_that_all_have(
    at: str, start_service: StartService, polls_often: None
) -> None:
    both = await start_service(at=at, key_encryption_keys=BOTH_ENCRYPTION)
    old = await start_service(at=at, key_encryption_keys=OLD_ENCRYPTION)
    client = await old.add_client()
    assert [2] == await encryption_ids(both)
    status, check = await readiness(old)
    assert (503, True) == (status, "authmint-service keys reencrypt" in check["message"])
    configured = make_settings(at, key_encryption_keys=BOTH_ENCRYPTION).encryption_keys
    keys = await ProcessStore(both.database).shared_keys(ENCRYPTION, configured)
    assert keys is not None
    assert (1, []) == await SigningKeyStore(both.database, keys).reencrypt()
    async with asyncio.timeout(10):
        while (await readiness(old))[0] != 200:
            await asyncio.sleep(0.02)
    assert [1] == await encryption_ids(both)
    assert 200 == (await old.sign_in(client, await old.add_account())).status_code


async def test_when_a_key_encryption_key_is_lost_the_error_names_the_command_that_helps(
    at: str, start_service: StartService
) -> None:
    service = await start_service(at=at)
    client, token = await sign_in(service)
    await service.stop()
    settings = make_settings(at, key_encryption_keys=new_encryption_key(2))
    store = SigningKeyStore(service.database, settings.encryption_keys)
    (lost,) = await store.load()
    assert "needs the encryption key 1" in (lost.problem or "")
    assert "authmint-service keys rotate --emergency makes new signing keys" in (lost.problem or "")

    async def skip_pause(_: float) -> None: ...

    await rotate_emergency(store, policy(), service.clock(), actor=OPERATOR, pause=skip_pause)
    after = await start_service(
        at=at, key_encryption_keys=settings.key_encryption_keys, clock=Clock(service.clock.now + PAUSE_SECONDS + 1)
    )
    assert (200, "ok") == ((found := await readiness(after))[0], found[1]["status"])
    # Nobody was signed out.
    assert 200 == (await refresh(after, client, token))[0]


def test_the_page_about_rolling_out_a_secret_has_the_times_and_names_of_the_program() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "rolling-out-a-secret.md").read_text()
    assert f"database every {HEARTBEAT_SECONDS:.0f} seconds" in page
    assert f"heartbeat within {LIVE_SECONDS:.0f}" in page.replace("\n", " ")
    assert f"at most {HEARTBEAT_SECONDS:.0f} seconds after" in page
    assert f"{HEARTBEAT_SECONDS + LIVE_SECONDS:.0f} if it was killed" in page
    assert set(re.findall(r"`(processes|lacking_processes|current)`", page)) <= set(COLUMNS)
    assert "`secret_keys: missing`" in page
