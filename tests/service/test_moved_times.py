"""A migration that moves what revokes tokens into the changes: nothing that is young is lost, in both directions."""

import asyncio
from typing import Any

import pytest

from alembic import command
from authmint_service import migrations
from authmint_service.database import Database
from tests.service.conftest import own_database

pytestmark = pytest.mark.anyio

BEFORE = (
    "INSERT INTO authmint.changes VALUES (4102444800000, 'client', 'ahead', false, now())",
    """
    INSERT INTO authmint.accounts (id, created_at, tokens_not_before)
    SELECT gen_random_uuid(), now(), now() - age FROM unnest(ARRAY[interval '69 minutes', '71 minutes', NULL]) AS age
    """,
    """
    INSERT INTO authmint.clients (client_id, subject, name, confidential, grants, scopes, resources, default_resources,
                                  created_at, tokens_not_before)
    SELECT 'c' || position, gen_random_uuid(), 'c', false, '{}', '{}', '{x}', '{x}', now(), now() - age
      FROM unnest(ARRAY[interval '1 minute', '2 hours']) WITH ORDINALITY AS given (age, position)
    """,
    "UPDATE authmint.all_tokens SET tokens_not_before = now()",
)
YOUNG = """
    SELECT (SELECT count(*) FROM authmint.accounts WHERE tokens_not_before > now() - interval '1 minute'),
           (SELECT count(*) FROM authmint.clients WHERE tokens_not_before > now() - interval '1 minute'),
           (SELECT count(*) FROM authmint.all_tokens WHERE tokens_not_before > now() - interval '1 minute')
"""


async def migrate_to(dsn: str, move: Any, revision: str) -> None:
    config = migrations.alembic_config()
    config.attributes["dsn"] = dsn
    await asyncio.to_thread(move, config, revision)


async def test_what_revoked_tokens_lately_becomes_a_change_above_all_that_there_are(server_dsn: str) -> None:
    async with own_database(server_dsn) as dsn:
        await migrate_to(dsn, command.upgrade, "0009")
        async with (database := Database(size=1)).open(dsn):
            for statement in BEFORE:
                await database.execute(statement)
        await migrate_to(dsn, command.upgrade, "0010")
        async with (database := Database(size=1)).open(dsn):
            rows = await database.fetch_all("SELECT kind, name FROM authmint.changes WHERE n > 4102444800000 AND takes")
            found = {(row["kind"], row["name"] if row["kind"] != "account" else "") for row in rows}
            assert ({("account", ""), ("client", "c1"), ("all", "")}, 3) == (found, len(rows))
        await migrate_to(dsn, command.downgrade, "0009")
        async with (database := Database(size=1)).open(dsn):
            row = await database.fetch_row(YOUNG)
            assert row is not None
            assert [1, 1, 1] == list(row.values())
