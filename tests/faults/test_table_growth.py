"""The table of sessions does not grow with refreshes, and reuse is still recognised after pruning (T-21)."""

import asyncio
import json
import sys
import time

import pytest

from authmint_service.database import Database
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import RefreshTokenCodec, RotationStore, Sessions, SessionStore, prune
from authmint_service.sessions.sessions import RefreshTokenReused
from tests.faults.bulk_sessions import LIMITS, PLACES, REQUEST, SettableClock, fill, first_token_of, refresh_for_a_day, size_of
from tests.faults.cluster import DatabaseForTests
from tests.faults.servers import REFRESH_KEYS

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]


async def a_day(dsn: str, *, live: int, over: int) -> None:
    codec = RefreshTokenCodec(SecretKeys.parse(REFRESH_KEYS, "key"))
    await fill(dsn, live, over=over)
    database, clock = Database(size=6), SettableClock(time.time())
    first = [codec.encode(first_token_of(number)) for number in range(live)]
    async with database.open(dsn):
        before, rows = await size_of(database)
        store = SessionStore(database, LIMITS)
        # Beside the refreshes, as in the service.
        pruning = asyncio.create_task(prune(store, clock.now, pause=0.001))
        current = await refresh_for_a_day(database, codec, first, clock)
        assert over == await pruning
        after, left = await size_of(database)
        assert (live + over, live) == (rows, left)
        # The very first tokens are recognised after 288 rotations, and end their sessions.
        sessions = Sessions(store, RotationStore(database, LIMITS), codec, PLACES, clock)
        for token in first:
            with pytest.raises(RefreshTokenReused):
                await sessions.redeem(token, REQUEST)
        assert not any([await sessions.find_redeemable(token, client_id="spa") for token in current])
        # Sessions that expired a day ago are pruned, and the table is empty.
        assert live == await prune(store, clock.now + 86_401, pause=0)
        assert 0 == (await size_of(database))[1]
    results = {"sessions": live, "refreshes": 288 * live, "purged": over, "table_after_a_day": round(after / before, 3)}
    sys.stdout.write(json.dumps(results | {"reuse_recognised": live}) + "\n")
    assert after <= 1.2 * before


@pytest.mark.timeout(170)
def test_after_a_day_of_refreshes_the_table_has_not_grown_and_reuse_is_recognised(
    database: DatabaseForTests,
) -> None:
    asyncio.run(a_day(database.dsn(), live=15, over=4))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_after_a_million_and_a_half_refreshes_the_table_has_not_grown(database: DatabaseForTests) -> None:
    asyncio.run(a_day(database.dsn(), live=5000, over=500))
