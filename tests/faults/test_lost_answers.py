"""The response to a refresh is lost: a retry gets it, also after the grace period; a late one from elsewhere does not (T-3)."""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Connection, Lost
from tests.faults.proxy import Network, Proxy
from tests.faults.servers import Site, generation_of, sign_in, site

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]


async def lose_and_retry(found: Site, dsn: str, *, sessions: int) -> None:
    in_time = await sign_in(dsn, sessions, client_id="spa")
    late = await sign_in(dsn, sessions, client_id="hasty")
    stolen = await sign_in(dsn, sessions, client_id="hasty")
    async with Proxy(found.ports[0]) as proxy:
        bad, good = Connection(proxy.port), Connection(found.ports[1])

        async def redeem(connection: Connection, client_id: str, text: str, place: str = "home") -> tuple[int, str]:
            form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": text}
            answer = await connection.ask("POST", "/token", form, headers={"User-Agent": place})
            return answer.status, answer.members.get("refresh_token") or answer.members["error"]

        for client_id, made in (("spa", in_time), ("hasty", late), ("hasty", stolen)):
            for token, _, _ in made:
                proxy.network = Network.LOSE_ANSWERS
                with pytest.raises(Lost):
                    await redeem(bad, client_id, found.codec.encode(token))
        assert 3 * sessions == proxy.answers_lost
        proxy.network = Network.GOOD
        await asyncio.sleep(1.1)
        for client_id, made in (("spa", in_time), ("hasty", late)):
            for token, _, _ in made:
                status, child = await redeem(good, client_id, found.codec.encode(token))
                assert (200, 1) == (status, generation_of(child))
                status, grandchild = await redeem(bad, client_id, child)
                assert (200, 2) == (status, generation_of(grandchild))
        for token, _, _ in stolen:
            assert (400, "invalid_grant") == await redeem(good, "hasty", found.codec.encode(token), "elsewhere")
            # The child, which no client ever received, is refused as well.
            assert (400, "invalid_grant") == await redeem(good, "hasty", found.codec.encode(token.child()))
        for connection in (bad, good):
            connection.close()
    handles = [token.handle for token, _, _ in in_time + late + stolen]
    assert {"kept": 2 * sessions, "ended": sessions} == await _ends(dsn, handles)
    sys.stdout.write(
        json.dumps(
            {"answers_lost": proxy.answers_lost, "kept_in_time": sessions, "kept_late": sessions, "ended_elsewhere": sessions}
        )
        + "\n"
    )


async def _ends(dsn: str, handles: list[bytes]) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        statement = """
            SELECT count(*) FILTER (WHERE revoked_at IS NULL) AS kept, count(*) FILTER (WHERE revoked_at IS NOT NULL) AS ended
              FROM authmint.sessions WHERE handle = ANY($1)
        """
        (row,) = await connection.fetch(statement, handles)
        return dict(row)
    finally:
        await connection.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sessions", [20, pytest.param(100, marks=pytest.mark.long)])
def test_a_client_whose_response_was_lost_stays_signed_in_when_it_retries(
    database: DatabaseForTests, tmp_path: Path, sessions: int
) -> None:
    with site(tmp_path, database.dsn()) as found:
        asyncio.run(lose_and_retry(found, database.dsn(), sessions=sessions))
