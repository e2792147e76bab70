"""Databases for fault tests. Modules that harm PostgreSQL have a cluster of their own; the others have a database each.

With pytest-xdist the modules run in two groups, each in one process. `faults-timed` has those that load the computer and those
that bound a time, so that these never run at the same time; `faults-untimed` has the others.
"""

import asyncio
import itertools
from collections.abc import Iterator

import asyncpg
import pytest

from authmint_service.migrations import migrate
from tests.faults.cluster import TEMPLATE, Cluster, DatabaseForTests, own_cluster
from tests.faults.fork_server import stop_shared_fork_server
from tests.faults.servers import add_clients

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _end_fork_server() -> Iterator[None]:
    yield
    stop_shared_fork_server()


@pytest.fixture(scope="session")
def stopped_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The data folder that clusters of this test process are copied from, with the database TEMPLATE."""
    with own_cluster(tmp_path_factory.mktemp("stopped-postgres") / "postgres") as cluster:
        _execute(cluster.dsn(), f"CREATE DATABASE {TEMPLATE}")
        cluster.database = TEMPLATE
        asyncio.run(migrate(cluster.dsn()))
        asyncio.run(add_clients(cluster.dsn()))
        cluster.stop("fast")
        yield cluster


@pytest.fixture(scope="session")
def shared_cluster(stopped_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server for all tests of this process that harm none."""
    with own_cluster(tmp_path_factory.mktemp("shared-postgres") / "postgres", stopped_cluster) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def database(shared_cluster: Cluster) -> DatabaseForTests:
    """A database of this module, migrated and with the clients, which goes with its cluster."""
    name = f"module_{next(_numbers)}"
    _execute(shared_cluster.dsn("postgres"), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return DatabaseForTests(shared_cluster.port, name)


@pytest.fixture(scope="module")
def cluster(stopped_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server of this module alone, which its tests may kill, restart, fill up or cut off."""
    with own_cluster(tmp_path_factory.mktemp("own-postgres") / "postgres", stopped_cluster) as made:
        yield made


def _execute(dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
