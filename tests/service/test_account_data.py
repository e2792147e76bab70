"""Export and deletion of an account go by the database's catalogue: no table that refers to accounts is forgotten."""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping, Sequence

import pytest

from authmint_service.account_data import EXPORTERS, NOT_CASCADED, NOT_OF_ACCOUNTS, delete_account, export_account
from authmint_service.accounts import Account, AccountStore
from authmint_service.database import Database
from authmint_service.errors import AlreadyExists
from authmint_service.exporter import Exporter
from authmint_service.one_time_tokens import Kind, OneTimeTokens, Owner
from authmint_service.request_source import RequestSource
from authmint_service.retention import RETENTION, delete_old_rows
from tests.actors import OPERATOR
from tests.service.conftest import PASSWORD, SECRET_KEYS, Service, make_settings
from tests.service.devices import sign_in

pytestmark = pytest.mark.anyio

# Tables that have a foreign key to accounts, or a column whose name says that it is an account's id.
REFERENCES = """
    SELECT pg_class.relname AS table, bool_or(confdeltype = 'c') IS TRUE AS is_cascaded
      FROM pg_class
      LEFT JOIN pg_constraint ON conrelid = pg_class.oid AND contype = 'f' AND confrelid = 'authmint.accounts'::regclass
     WHERE relnamespace = 'authmint'::regnamespace AND relkind IN ('r', 'p')
       AND (pg_constraint.oid IS NOT NULL
            OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND NOT attisdropped
                          AND attname IN ('account_id', 'subject', 'account', 'sub')))
     GROUP BY pg_class.oid, relname
"""
COLUMNS = """
    SELECT attname, atttypid = 'bytea'::regtype AS is_bytes FROM pg_attribute
     WHERE attrelid = ('authmint.' || $1)::regclass AND attnum > 0 AND NOT attisdropped
"""


async def missing(
    database: Database, exporters: Sequence[Exporter] = EXPORTERS, not_cascaded: Mapping[str, str] = NOT_CASCADED
) -> set[str]:
    """What each table that refers to accounts lacks."""
    found, exported = set(), {exporter.table for exporter in exporters}
    for row in await database.fetch_all(REFERENCES):
        table = row["table"]
        if table in NOT_OF_ACCOUNTS:
            continue
        if not row["is_cascaded"] and table not in not_cascaded:
            found.add(f"{table}: ON DELETE CASCADE, or a reason")
        if table not in exported:
            found.add(f"{table}: an exporter")
    return found


async def undecided_columns(database: Database, exporter: Exporter) -> set[str]:
    """The columns of a table that are neither exported nor left out, and those left out that do not exist."""
    columns = {row["attname"] for row in await database.fetch_all(COLUMNS, exporter.table)}
    named = set(re.findall(r"'\w+', (\w+)", exporter.statement))
    return columns ^ (named | exporter.left_out.keys())


async def test_each_table_that_refers_to_accounts_is_deleted_and_exported(service: Service) -> None:
    assert set() == await missing(service.database)
    rows = {row["table"]: row["is_cascaded"] for row in await service.database.fetch_all(REFERENCES)}
    # A reason is for a table that needs one.
    assert {table for table in NOT_CASCADED if rows[table]} == set()
    assert NOT_OF_ACCOUNTS.keys() <= rows.keys()


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.table)
async def test_each_column_is_exported_or_left_out_for_a_reason_and_bytes_are_left_out(
    service: Service, exporter: Exporter
) -> None:
    assert set() == await undecided_columns(service.database, exporter)
    columns = await service.database.fetch_all(COLUMNS, exporter.table)
    assert {row["attname"] for row in columns if row["is_bytes"]} <= exporter.left_out.keys()


NOTES = Exporter(
    table="notes",
    statement="SELECT jsonb_build_object('text', text) FROM authmint.notes WHERE account_id = $1",
    left_out={"account_id": "The account's row has it."},
)


async def add_account(database: Database, username: str) -> Account:
    account = Account(id=str(uuid.uuid4()), username=username)
    await AccountStore(database).add(account, 1_800_000_000, actor=OPERATOR)
    return account


async def test_a_new_table_of_accounts_is_found_and_passes_with_a_cascade_and_an_exporter(empty_database: Database) -> None:
    await empty_database.execute("CREATE TABLE authmint.notes (account_id uuid REFERENCES authmint.accounts, text text)")
    assert {"notes: ON DELETE CASCADE, or a reason", "notes: an exporter"} == await missing(empty_database)
    exporters = (*EXPORTERS, NOTES)
    assert {"notes: ON DELETE CASCADE, or a reason"} == await missing(empty_database, exporters)
    assert set() == await missing(empty_database, exporters, {**NOT_CASCADED, "notes": "a reason"})
    await empty_database.execute("DROP TABLE authmint.notes")
    await empty_database.execute(
        "CREATE TABLE authmint.notes (account_id uuid REFERENCES authmint.accounts ON DELETE CASCADE, text text)"
    )
    assert {"notes: an exporter"} == await missing(empty_database)
    assert set() == await missing(empty_database, exporters)

    one, other = await add_account(empty_database, "one"), await add_account(empty_database, "other")
    for account in (one, other):
        await empty_database.execute("INSERT INTO authmint.notes VALUES ($1, $2)", account.id, f"note of {account.username}")
    assert [{"text": "note of one"}] == (await export_account(empty_database, one.id, exporters))["notes"]
    assert await delete_account(empty_database, one.id, 1_800_000_000, actor=OPERATOR)
    assert [] == (await export_account(empty_database, one.id, exporters))["notes"]
    assert [{"text": "note of other"}] == (await export_account(empty_database, other.id, exporters))["notes"]


async def test_a_new_column_must_be_exported_or_left_out(empty_database: Database) -> None:
    await empty_database.execute("ALTER TABLE authmint.passwords ADD COLUMN hint text")
    passwords = next(exporter for exporter in EXPORTERS if exporter.table == "passwords")
    assert {"hint"} == await undecided_columns(empty_database, passwords)


@pytest.mark.parametrize("column", ["subject uuid", "account_id uuid", "owner uuid REFERENCES authmint.accounts"])
async def test_a_table_is_found_by_its_column_or_by_its_foreign_key(empty_database: Database, column: str) -> None:
    await empty_database.execute(f"CREATE TABLE authmint.notes ({column})")
    assert {"notes: ON DELETE CASCADE, or a reason", "notes: an exporter"} == await missing(empty_database)


async def test_an_export_has_all_that_is_stored_of_the_account_and_no_secret(service: Service) -> None:
    one, other = await sign_in(service), await sign_in(service)
    tokens = OneTimeTokens(service.database, make_settings("postgresql://nowhere").refresh_keys)
    link = await tokens.create(Kind(name="a_kind", lifetime=60), Owner(account_id=one.user.id), service.clock())
    export = await export_account(service.database, one.user.id)
    text = json.dumps(export)

    assert [exporter.table for exporter in EXPORTERS] == list(export)
    assert one.user.id == export["accounts"][0]["id"]
    assert one.user.username == export["account_names"][0]["text"]
    assert ["changed_at"] == list(export["passwords"][0])
    assert one.client.client_id == export["sessions"][0]["client_id"]
    assert "a_kind" == export["one_time_tokens"][0]["kind"]
    assert one.user.username in json.dumps(export["events"])

    handle = await service.database.fetch_value("SELECT handle FROM authmint.sessions WHERE account_id = $1", one.user.id)
    stored_hash = await service.database.fetch_value("SELECT hash FROM authmint.passwords WHERE account_id = $1", one.user.id)
    for secret in (PASSWORD, stored_hash, "$argon2", handle.hex(), link, one.refresh, one.access, *SECRET_KEYS.values()):
        assert secret not in text
    for others in (other.user.id, other.user.username, other.client.client_id):
        assert others not in text


async def test_a_deleted_account_leaves_an_id_and_nothing_of_the_person(service: Service) -> None:
    one, other = await sign_in(service), await sign_in(service)
    account_id, database = one.user.id, service.database
    source = RequestSource(request_id="r1", ip_address="192.0.2.77", user_agent="a browser of the person")
    before = await database.fetch_value("SELECT count(*) FROM authmint.events WHERE subject = $1", account_id)
    assert await delete_account(database, account_id, service.clock(), actor=OPERATOR, source=source)

    export = await export_account(database, account_id)
    assert {"state": "deleted", "disabled_reason": None} == {
        name: export["accounts"][0][name] for name in ("state", "disabled_reason")
    }
    assert ([], [], []) == (export["passwords"], export["sessions"], export["one_time_tokens"])
    # Disabled first, so that its tokens are worthless, and then deleted.
    assert before + 2 == len(export["events"])
    assert ["account.disabled", "account.deleted"] == [event["kind"] for event in export["events"][-2:]]
    assert {None} == {event["personal"] for event in export["events"]}
    kept = await database.fetch_all(
        "SELECT salt, personal_digest FROM authmint.events WHERE subject = $1 AND personal_digest IS NOT NULL", account_id
    )
    assert kept
    assert all(row["salt"] is None for row in kept)
    # Its name rests, so this one text stays for a while; what the person wrote does not.
    [name] = export["account_names"]
    assert (one.user.username, "") == (name["prepared"], name["text"])
    del export["account_names"]
    text = json.dumps(export)
    for personal in (one.user.username, "192.0.2.77", "a browser of the person"):
        assert personal not in text

    assert 400 == (await service.sign_in(one.client, one.user)).status_code
    assert 400 == (await service.refresh(one.client, one.refresh)).status_code
    assert 200 == (await service.refresh(other.client, other.refresh)).status_code
    assert not await delete_account(database, account_id, service.clock(), actor=OPERATOR)
    assert not await delete_account(database, str(uuid.uuid4()), service.clock(), actor=OPERATOR)


async def test_the_tokens_of_a_deleted_account_are_on_the_revocation_list(service: Service) -> None:
    one = await sign_in(service)
    await delete_account(service.database, one.user.id, service.clock(), actor=OPERATOR)
    await service.read_revocations()
    assert one.user.id in service.app.state.revocation_list.entries.below.accounts
    answer = await service.http.get("/account/v1/sessions", headers={"Authorization": f"Bearer {one.access}"})
    assert 401 == answer.status_code


async def test_a_freed_name_rests_for_a_month_and_is_then_given_again(empty_database: Database) -> None:
    store, now = AccountStore(empty_database), 1_800_000_000
    account = await add_account(empty_database, "anna")
    verified = (
        "INSERT INTO authmint.account_names (prepared, account_id, kind, text, verified_at) VALUES ($1, $2, 'email', $1, $3)"
    )
    await empty_database.execute(verified, "anna@example.com", account.id, None)
    await delete_account(empty_database, account.id, now, actor=OPERATOR)
    assert await store.find_by_name("anna") is None
    assert await store.find(account.id) is None
    names = "SELECT prepared FROM authmint.account_names WHERE account_id = $1"
    # An address that was not verified blocked no one, and rests not.
    assert ["anna"] == [row["prepared"] for row in await empty_database.fetch_all(names, account.id)]
    with pytest.raises(AlreadyExists):
        await add_account(empty_database, "anna")

    age = "UPDATE authmint.account_names SET freed_at = clock_timestamp() - $1 * interval '1 day' WHERE freed_at IS NOT NULL"
    resting = [entry for entry in RETENTION if entry.table == "account_names"]
    await empty_database.execute(age, 29.99)
    assert {"account_names": 0} == await delete_old_rows(empty_database, resting)
    await empty_database.execute(age, 30.01)
    assert {"account_names": 1} == await delete_old_rows(empty_database, resting)
    assert "anna" == (await add_account(empty_database, "anna")).username


async def test_a_sign_in_during_a_deletion_leaves_no_session(service: Service) -> None:
    """Whatever comes first: a session that was started before goes with the account, and none is started after."""
    for _ in range(5):
        account, client = await service.add_account(), await service.add_client()
        results = await asyncio.gather(
            *(service.sign_in(client, account) for _ in range(3)),
            delete_account(service.database, account.id, service.clock(), actor=OPERATOR),
        )
        assert results[-1] is True
        sessions = "SELECT count(*) FROM authmint.sessions WHERE account_id = $1"
        assert 0 == await service.database.fetch_value(sessions, account.id)


async def test_of_deletions_at_once_one_deletes(service: Service) -> None:
    account = await service.add_account()
    results = await asyncio.gather(
        *(delete_account(service.database, account.id, service.clock(), actor=OPERATOR) for _ in range(3))
    )
    assert [False, False, True] == sorted(results)
