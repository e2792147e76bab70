"""Old rows are deleted, and each table whose rows end at a time has an age or a reason."""

import re
from pathlib import Path

import pytest

from authmint_service.database import Database
from authmint_service.retention import CHANGE_SECONDS, DAY, EVENT_SECONDS, KEPT, RETENTION, Retention, delete_old_rows
from tests.service.conftest import Service

pytestmark = pytest.mark.anyio

TIMES = """
    SELECT relname AS table, attname AS column
      FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
     WHERE relnamespace = 'authmint'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
       AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
     ORDER BY relname, attname
"""
ENDS = re.compile(r"(?:^|_)(?:expires|ends|until|due|heartbeat|recorded|occurred|dead|freed|seen|delivered)(?:_at)?$")
"""The names of times after which a row is of no use."""


async def undecided(database: Database, retention: tuple[Retention, ...] = RETENTION) -> set[str]:
    """Tables that have such a time, and neither an age nor a reason."""
    rows = await database.fetch_all(TIMES)
    ending = {row["table"] for row in rows if ENDS.search(row["column"])}
    return ending - {entry.table for entry in retention} - KEPT.keys()


async def test_each_table_whose_rows_end_at_a_time_has_an_age_or_a_reason(service: Service) -> None:
    assert set() == await undecided(service.database)


async def test_an_entry_names_columns_that_exist_and_a_reason_a_table_that_has_no_entry(service: Service) -> None:
    known = {(row["table"], row["column"]) for row in await service.database.fetch_all(TIMES)}
    assert {(entry.table, entry.column) for entry in RETENTION} <= known
    assert KEPT.keys() <= {table for table, _ in known}
    assert KEPT.keys().isdisjoint(entry.table for entry in RETENTION)


@pytest.mark.parametrize("entry", RETENTION, ids=lambda entry: entry.table)
def test_the_statement_of_an_entry_is_about_its_table_and_its_column(entry: Retention) -> None:
    assert {entry.table} == set(re.findall(r"authmint\.(\w+)", entry.delete))
    assert f"{entry.column} < clock_timestamp() - $1 * interval '1 second'" in entry.delete
    assert "LIMIT $2" in entry.delete
    assert entry.seconds > 0


@pytest.mark.parametrize("column", ["expires_at", "valid_until", "idle_expires_at", "due_at", "last_seen_at"])
async def test_a_new_table_whose_rows_expire_is_found(empty_database: Database, column: str) -> None:
    await empty_database.execute(f"CREATE TABLE authmint.new_table (name text, {column} timestamptz)")
    assert {"new_table"} == await undecided(empty_database)


INSERT = {
    "account_names": """
        WITH account AS (INSERT INTO authmint.accounts (id, created_at)
                         VALUES (gen_random_uuid(), clock_timestamp()) RETURNING id)
        INSERT INTO authmint.account_names (prepared, account_id, kind, text, freed_at)
        SELECT 'name-' || n, account.id, 'username', '', clock_timestamp() - age * interval '1 second'
          FROM account, unnest($1::float8[]) WITH ORDINALITY AS given (age, n)
    """,
    "changes": """
        INSERT INTO authmint.changes (n, kind, name, takes, recorded_at)
        SELECT n, 'client', 'orders', false, clock_timestamp() - age * interval '1 second'
          FROM unnest($1::float8[]) WITH ORDINALITY AS given (age, n)
    """,
    "deliveries": """
        WITH event AS (INSERT INTO authmint.events (kind, actor_kind, occurred_at)
                       VALUES ('a.b', 'c', clock_timestamp()) RETURNING id)
        INSERT INTO authmint.deliveries (event_id, kind, target, due_at, dead_at)
        SELECT event.id, 'mail', 'someone', clock_timestamp(), clock_timestamp() - age * interval '1 second'
          FROM event, unnest($1::float8[]) AS age
    """,
    "events": """
        INSERT INTO authmint.events (kind, actor_kind, occurred_at)
        SELECT 'a.b', 'c', clock_timestamp() - age * interval '1 second' FROM unnest($1::float8[]) AS age
    """,
    "leases": """
        INSERT INTO authmint.leases (name, holder, expires_at)
        SELECT n::text, gen_random_uuid(), clock_timestamp() - age * interval '1 second'
          FROM unnest($1::float8[]) WITH ORDINALITY AS given (age, n)
    """,
    "one_time_tokens": """
        INSERT INTO authmint.one_time_tokens (digest, kind, key_id, created_at, expires_at)
        SELECT sha256(n::text::bytea), 'a_kind', 1, clock_timestamp(), clock_timestamp() - age * interval '1 second'
          FROM unnest($1::float8[]) WITH ORDINALITY AS given (age, n)
    """,
    "processes": """
        INSERT INTO authmint.processes (id, version, key_encryption_key_ids, refresh_token_key_ids, started_at, heartbeat_at)
        SELECT gen_random_uuid(), '1', '{}', '{}', clock_timestamp(), clock_timestamp() - age * interval '1 second'
          FROM unnest($1::float8[]) AS age
    """,
    "revoked_tokens": """
        INSERT INTO authmint.revoked_tokens (entry, expires_at, revoked_at)
        SELECT int8send(n), clock_timestamp() - age * interval '1 second', clock_timestamp()
          FROM unnest($1::float8[]) WITH ORDINALITY AS given (age, n)
    """,
}
"""By table: insert a row for each of the ages in $1, in seconds."""


@pytest.mark.parametrize("entry", RETENTION, ids=lambda entry: entry.table)
async def test_rows_that_have_their_age_are_deleted_in_batches_and_younger_ones_stay(
    empty_database: Database, entry: Retention
) -> None:
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await empty_database.execute(INSERT[entry.table], [entry.seconds + 60.0] * 7 + [entry.seconds - 60.0] * 2)
    assert {entry.table: 7} == await delete_old_rows(empty_database, [entry], batch=3, pause=pause)
    assert 2 == len(pauses)
    assert {entry.table: 0} == await delete_old_rows(empty_database, [entry], batch=3, pause=pause)
    assert 2 == await empty_database.fetch_value(f"SELECT count(*) FROM authmint.{entry.table}")


async def test_the_newest_change_stays_for_ever(empty_database: Database) -> None:
    """Its number is the authorization version, which must never fall."""
    await empty_database.execute(INSERT["changes"], [CHANGE_SECONDS + 60.0] * 5)
    changes = [entry for entry in RETENTION if entry.table == "changes"]
    assert {"changes": 4} == await delete_old_rows(empty_database, changes)
    assert {"changes": 0} == await delete_old_rows(empty_database, changes)
    assert 5 == await empty_database.fetch_value("SELECT max(n) FROM authmint.changes")


def test_the_ages_are_those_that_the_documentation_gives() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    units = {"minutes": 60, "day": DAY, "days": DAY}
    given = {
        table: (int(number) * units[unit], column)
        for table, number, unit, column in re.findall(r"\| `(\w+)` \| (\d+) (minutes|days?) after `(\w+)`", text)
    }
    assert given == {entry.table: (entry.seconds, entry.column) for entry in RETENTION}
    assert (70 * 60, 400 * 86_400) == (CHANGE_SECONDS, EVENT_SECONDS)
