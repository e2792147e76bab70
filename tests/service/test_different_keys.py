"""One id for different keys: a key is made on each computer, or made again, and nobody is signed out without a word.

The kinds: two processes that run, a restart with another key; for refresh tokens, for the encryption of signing keys, for
commands. SIGHUP with another key: tests/e2e/test_rolling_secrets.py.
"""

from collections.abc import AsyncIterator

import pytest

from authmint_service.administration.secrets import drop_refresh_token_key, read_secret_usage
from authmint_service.processes import ProcessStore
from authmint_service.secret_keys import SecretKeys
from tests.actors import OPERATOR
from tests.service.conftest import StartService, migrated_database
from tests.service.signing import new_encryption_key
from tests.service.test_processes import (
    BOTH,
    BOTH_ENCRYPTION,
    ELSEWHERE,
    ENCRYPTION,
    OLD,
    OLD_ENCRYPTION,
    REFRESH,
    REFUSED,
    beat,
    encryption_ids,
    key_id_of,
    readiness,
    refresh,
    sign_in,
)

pytestmark = pytest.mark.anyio

OTHER = f"{new_encryption_key(2)},{OLD}"
"""Another key under the id 2 than in BOTH."""
OTHER_ENCRYPTION = f"{new_encryption_key(2)},{OLD_ENCRYPTION}"


@pytest.fixture
async def at(server_dsn: str) -> AsyncIterator[str]:
    async with migrated_database(server_dsn) as dsn:
        yield dsn


async def test_an_id_that_two_processes_have_for_different_keys_is_not_used_for_new_tokens(
    at: str, start_service: StartService, capfd: pytest.CaptureFixture[str]
) -> None:
    one = await start_service(at=at, refresh_token_keys=BOTH)
    other = await start_service(at=at, refresh_token_keys=OTHER)
    await beat(one, other)
    for first, second in ((one, other), (other, one)):
        client, token = await sign_in(first)
        assert 1 == key_id_of(token)
        assert 200 == (await refresh(second, client, token))[0]
        # No session depends on the key: it waits for its use, and both serve.
        assert (200, "ok") == ((found := await readiness(first))[0], found[1]["status"])
    lines = [line for line in capfd.readouterr().err.splitlines() if "secret_key.different" in line]
    assert 2 == len(lines)
    assert all('"secret_kind":"refresh_token","key_id":2' in line for line in lines)


async def test_a_process_with_another_key_than_sessions_depend_on_responds_503_and_is_not_ready(
    at: str, start_service: StartService
) -> None:
    right = await start_service(at=at, refresh_token_keys=BOTH)
    client, token = await sign_in(right)
    assert 2 == key_id_of(token)
    wrong = await start_service(at=at, refresh_token_keys=OTHER)
    await beat(right)
    assert ELSEWHERE == await refresh(wrong, client, token)
    status, token = await refresh(right, client, token)
    assert 200 == status
    assert 200 == (await readiness(right))[0]
    status, check = await readiness(wrong)
    assert (503, "different") == (status, check["status"])
    assert "AUTHMINT_REFRESH_TOKEN_KEYS has another key under the id of the key 2" in check["message"]
    # What the wrong process makes meanwhile is good everywhere.
    other_client, other_token = await sign_in(wrong)
    assert 1 == key_id_of(other_token)
    assert 200 == (await refresh(right, other_client, other_token))[0]
    # A forged token is refused where nobody else can know better.
    assert REFUSED == await refresh(right, client, token[:40] + ("A" if token[40] != "A" else "B") + token[41:])


async def test_a_restart_with_another_key_under_the_same_id_is_not_ready_until_the_old_one_is_dropped(
    at: str, start_service: StartService
) -> None:
    first = await start_service(at=at, refresh_token_keys=OLD)
    client, token = await sign_in(first)
    await first.stop()
    again = await start_service(at=at, refresh_token_keys=new_encryption_key(1))
    assert REFUSED == await refresh(again, client, token)
    assert (503, "different") == ((found := await readiness(again))[0], found[1]["status"])
    await again.stop()
    back = await start_service(at=at, refresh_token_keys=OLD)
    assert 200 == (await readiness(back))[0]
    assert 200 == (await refresh(back, client, token))[0]
    await back.stop()
    lost = await start_service(at=at, refresh_token_keys=new_encryption_key(1))
    # As the message says.
    assert 1 == await drop_refresh_token_key(lost.database, 1, lost.clock(), actor=OPERATOR, force=True)
    await beat(lost)
    client, token = await sign_in(lost)
    assert 200 == (await refresh(lost, client, token))[0]
    await beat(lost)
    assert 200 == (await readiness(lost))[0]


async def test_a_signing_key_that_another_key_of_the_same_id_encrypts_makes_a_process_unready_and_hides_no_key(
    at: str, start_service: StartService
) -> None:
    right = await start_service(at=at, key_encryption_keys=BOTH_ENCRYPTION)
    assert [2] == await encryption_ids(right)
    wrong = await start_service(at=at, key_encryption_keys=OTHER_ENCRYPTION)
    await wrong.app.state.processes.beat()
    status, check = await readiness(wrong)
    assert (503, "different") == (status, check["status"])
    # A set without the key would make its tokens worthless.
    assert 503 == (await wrong.http.get("/.well-known/jwks.json")).status_code
    assert 200 == (await right.http.get("/.well-known/jwks.json")).status_code


async def test_commands_use_no_key_whose_id_stands_for_different_keys(at: str, start_service: StartService) -> None:
    one = await start_service(at=at, refresh_token_keys=BOTH, key_encryption_keys=BOTH_ENCRYPTION)
    await start_service(at=at, refresh_token_keys=OTHER, key_encryption_keys=OTHER_ENCRYPTION)
    usage = await read_secret_usage(one.database, one.clock())
    assert [[1], [1]] == usage.key_ids(REFRESH)
    assert (2, 1) == (len(usage.having(REFRESH, 1)), len(usage.having(REFRESH, 2)))
    shared = await ProcessStore(one.database).shared_keys(ENCRYPTION, SecretKeys.parse(BOTH_ENCRYPTION, "keys"))
    assert shared is not None
    assert 1 == shared.current_id


def test_a_fingerprint_is_short_and_not_a_part_of_the_key() -> None:
    keys = SecretKeys.parse(BOTH, "keys")
    assert 2 == len(set(keys.fingerprints.values()))
    assert keys.fingerprints == SecretKeys.parse(BOTH, "keys").fingerprints
    for key_id, fingerprint in keys.fingerprints.items():
        assert 8 == len(fingerprint)
        assert fingerprint not in keys[key_id]
