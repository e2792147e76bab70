"""One name is requested many times at once through two connection pools: one account, the rest is refused (T-10)."""

import asyncio
import json
import secrets
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from authmint_service.accounts import Account, AccountStore, prepare_username
from authmint_service.database import Database
from authmint_service.errors import AlreadyExists
from tests.actors import OPERATOR
from tests.faults.cluster import DatabaseForTests

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]


async def add_all(database: Database, name: str, attempts: Iterator[int]) -> Counter[str]:
    """Try one after another while the shared `attempts` last. Return the number of each outcome."""
    counts: Counter[str] = Counter()
    for _ in attempts:
        account = Account(id=str(uuid.uuid4()), username=prepare_username(name), password_hash="-")
        try:
            await AccountStore(database).add(account, time.time(), actor=OPERATOR)
            counts["made"] += 1
        except AlreadyExists:
            counts["refused"] += 1
    return counts


async def register(dsn: str, *, attempts: int, names: int) -> None:
    pools = [Database(size=10), Database(size=10)]
    counts: Counter[str] = Counter()
    async with pools[0].open(dsn), pools[1].open(dsn):
        for _ in range(names):
            name, shared = f"person-{secrets.token_hex(6)}", iter(range(attempts))
            for made in await asyncio.gather(*(add_all(pools[n % 2], name, shared) for n in range(20))):
                counts.update(made)
            assert 1 == await pools[0].fetch_value("SELECT count(*) FROM authmint.account_names WHERE prepared = $1", name)
    sys.stdout.write(json.dumps({"names": names, "attempts_each": attempts, **counts}) + "\n")
    assert {"made": names, "refused": names * (attempts - 1)} == dict(counts)


@pytest.mark.timeout(60)
def test_of_many_concurrent_requests_for_one_name_one_succeeds(database: DatabaseForTests) -> None:
    asyncio.run(register(database.dsn(), attempts=20, names=20))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_of_a_thousand_concurrent_requests_for_one_name_one_succeeds_a_hundred_times(database: DatabaseForTests) -> None:
    asyncio.run(register(database.dsn(), attempts=1000, names=100))
