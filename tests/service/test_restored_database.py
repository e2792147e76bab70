"""A database that was restored from a backup: what tells of it, and the command that makes it safe."""

import time
from collections.abc import AsyncIterator

import pytest

from authmint_service.administration import restore, revoke_all_tokens
from authmint_service.administration.restore import finish_restore, read_restored_state
from authmint_service.change_feed import ChangeKind
from authmint_service.database import Database
from tests.actors import OPERATOR
from tests.service.conftest import Service, StartService, migrated_database, record_change

pytestmark = pytest.mark.anyio


@pytest.fixture
async def alone(start_service: StartService, server_dsn: str) -> AsyncIterator[Service]:
    """A service on a database where no other test makes changes."""
    async with migrated_database(server_dsn) as dsn:
        yield await start_service(at=dsn)


async def last_change(database: Database) -> tuple[int, str, str, bool]:
    row = await database.fetch_row("SELECT n, kind, name, takes FROM authmint.changes ORDER BY n DESC LIMIT 1")
    assert row is not None
    return row["n"], row["kind"], row["name"], row["takes"]


async def test_it_makes_one_change_of_everything_above_all_that_was_lost(alone: Service) -> None:
    await record_change(alone.database, ChangeKind.CLIENT, "lost")
    lost, *_ = await last_change(alone.database)
    await alone.database.execute("DELETE FROM authmint.changes WHERE n > $1", lost - 1)
    await finish_restore(alone.database, time.time(), actor=OPERATOR)
    n, *change_of_all = await last_change(alone.database)
    assert (["all", "restore", True], True) == (change_of_all, n > lost)
    assert n >= 1000 * time.time() - 10_000


async def test_every_session_ends_with_the_cause_and_the_command_is_recorded(
    alone: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "BATCH", 2)
    client, users = await alone.add_client(), [await alone.add_account() for _ in range(5)]
    tokens = [(await alone.sign_in(client, user)).json()["refresh_token"] for user in users]
    await alone.http.post("/revoke", data={"client_id": client.client_id, "token": tokens[0]})
    assert 4 == await finish_restore(alone.database, alone.clock(), actor=OPERATOR)
    causes = await alone.database.fetch_all("SELECT end_cause, count(*) FROM authmint.sessions GROUP BY 1 ORDER BY 1")
    assert [("newer_than_database", 4), ("signed_out", 1)] == [tuple(row.values()) for row in causes]
    assert {400} == {(await alone.refresh(client, token)).status_code for token in tokens}
    # The entry of the change covers all of them: the revocation list does not have them one by one.
    n, *_ = await last_change(alone.database)
    covered = "SELECT count(*) FROM authmint.sessions WHERE covered_by = $1"
    assert 4 == await alone.database.fetch_value(covered, n)
    recorded = "SELECT actor_kind FROM authmint.events WHERE kind = 'database.restored'"
    assert OPERATOR.kind == await alone.database.fetch_value(recorded)
    # A person who signs in afterwards stays signed in.
    new = (await alone.sign_in(client, users[0])).json()["refresh_token"]
    assert 200 == (await alone.refresh(client, new)).status_code


async def test_a_process_that_was_not_stopped_resumes_after_it_and_uses_nothing_that_it_had_cached(
    alone: Service, secret: str
) -> None:
    robot = await alone.add_client(secret)
    form = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    await alone.read_changes()
    assert 200 == (await alone.token(**form)).status_code
    # A backup in which the client is still disabled.
    await alone.database.execute("DELETE FROM authmint.changes")
    await alone.database.execute("UPDATE authmint.clients SET enabled = false")
    await alone.read_changes()
    assert 503 == (await alone.token(**form)).status_code
    assert "after-restore" in (await alone.http.get("/readyz")).text
    await finish_restore(alone.database, alone.clock(), actor=OPERATOR)
    await alone.read_changes()
    assert 401 == (await alone.token(**form)).status_code


async def test_readiness_reports_a_refresh_token_that_is_newer_than_its_row_until_the_command_was_run(alone: Service) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    token = (await alone.sign_in(client, user)).json()["refresh_token"]
    newer = (await alone.refresh(client, token)).json()["refresh_token"]
    assert "ok" == (await alone.http.get("/readyz")).json()["checks"]["sessions"]["status"]
    await alone.database.execute("UPDATE authmint.sessions SET generation = 0")
    assert 400 == (await alone.refresh(client, newer)).status_code
    ready = await alone.http.get("/readyz")
    check = ready.json()["checks"]["sessions"]
    assert (200, "restored", True) == (ready.status_code, check["status"], "after-restore" in check["message"])
    # Another change of everything ends no session.
    await revoke_all_tokens(alone.database, alone.clock(), actor=OPERATOR)
    await alone.read_changes()
    assert "restored" == (await alone.http.get("/readyz")).json()["checks"]["sessions"]["status"]
    await finish_restore(alone.database, alone.clock(), actor=OPERATOR)
    await alone.read_changes()
    assert "ok" == (await alone.http.get("/readyz")).json()["checks"]["sessions"]["status"]


async def test_a_link_that_was_used_after_the_backup_does_not_open_again(alone: Service) -> None:
    """The kind: what is used once, and is unused again in a restored database."""
    await alone.database.execute("""
        INSERT INTO authmint.one_time_tokens (digest, kind, key_id, created_at, expires_at)
        VALUES (sha256(''), 'a_kind', 1, clock_timestamp(), clock_timestamp() + interval '1 hour')
    """)
    await finish_restore(alone.database, alone.clock(), actor=OPERATOR)
    assert 0 == await alone.database.fetch_value("SELECT count(*) FROM authmint.one_time_tokens")


async def test_what_a_restored_database_holds_is_counted(alone: Service) -> None:
    client, user = await alone.add_client(), await alone.add_account()
    await alone.sign_in(client, user)
    await alone.add_account()
    await alone.database.execute("UPDATE authmint.accounts SET state = 'disabled' WHERE id <> $1", user.id)
    state = await read_restored_state(alone.database)
    assert (2, 1, 1, 0, 1) == (
        state.accounts, state.disabled_accounts, state.clients, state.disabled_clients, state.live_sessions,
    )  # fmt: skip
    assert alone.clock() == state.last_event_at == state.last_password_change_at
    assert state.last_key_revocation_at is None
