"""A feature that a test brings: a background task, a table whose rows end, and kinds of one-time values."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from authmint_service.app import create_app
from authmint_service.features import Feature, Kernel
from authmint_service.one_time_tokens import Kind
from authmint_service.retention import Retention
from authmint_service.tasks import Task
from tests.service.conftest import Clock, make_first_key, make_settings, migrated_database

pytestmark = pytest.mark.anyio

VISITS = Retention(
    table="visits",
    column="seen_at",
    seconds=60,
    delete="""
        DELETE FROM authmint.visits
         WHERE id IN (SELECT id FROM authmint.visits WHERE seen_at < clock_timestamp() - $1 * interval '1 second' LIMIT $2)
        RETURNING 1
    """,
)


@asynccontextmanager
async def served(dsn: str, make: Callable[[Kernel], Feature]) -> AsyncIterator[None]:
    clock = Clock()
    app = create_app(make_settings(dsn), clock=clock, database_time=clock.ask, more_features=[make])
    async with app.router.lifespan_context(app):
        yield


async def test_a_task_and_the_age_of_a_table_are_part_of_the_feature(server_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authmint_service.retention.EVERY_SECONDS", 0.02)
    ran = asyncio.Event()

    def visits(kernel: Kernel) -> Feature:
        async def run() -> None:
            assert 1 == await kernel.database.fetch_value("SELECT count(*) FROM authmint.visits WHERE id = 2")
            ran.set()

        return Feature(name="visits", tasks=(Task("count visits", 3600.0, run, at_start=True),), retention=(VISITS,))

    async with migrated_database(server_dsn) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE authmint.visits (id integer, seen_at timestamptz)")
        await connection.execute("INSERT INTO authmint.visits VALUES (1, now() - interval '2 minutes'), (2, now())")
        await make_first_key(dsn)
        async with served(dsn, visits):
            # The start has waited for the task.
            assert ran.is_set()
            async with asyncio.timeout(10):
                while 1 in [row["id"] for row in await connection.fetch("SELECT id FROM authmint.visits")]:
                    await asyncio.sleep(0.01)
        assert [2] == [row["id"] for row in await connection.fetch("SELECT id FROM authmint.visits")]
        await connection.close()


async def test_two_features_cannot_have_one_kind_of_one_time_values(dsn: str) -> None:
    """Values of one would open what the other is for."""

    def feature(_: Kernel) -> Feature:
        return Feature(name="a feature", one_time_kinds=(Kind(name="reset", lifetime=60),))

    with pytest.raises(ValueError, match="have the name reset"):
        create_app(make_settings(dsn), more_features=[feature, feature])
