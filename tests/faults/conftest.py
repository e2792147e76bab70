"""A cluster for this worker's fault tests, made by it, with the schema and the clients; and servers on it."""

import asyncio
from collections.abc import Iterator

import pytest

from authmint_service.migrations import migrate
from tests.faults.cluster import Cluster, own_cluster
from tests.faults.servers import add_clients


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with own_cluster(tmp_path_factory.mktemp("faults") / "postgres") as made:
        asyncio.run(migrate(made.dsn()))
        asyncio.run(add_clients(made.dsn()))
        yield made
