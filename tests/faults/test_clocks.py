"""A redeemed token is replayed after a restart, in the same second, or after the clock was set back (T-6 to T-8)."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.faults.cluster import DatabaseForTests
from tests.faults.http import Connection
from tests.faults.servers import FORKED_WITH_SHIFTED_CLOCK, Site, sign_in, site

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("faults-untimed")]


class Replays:
    """Sessions that are each rotated twice; then the first token is presented again."""

    def __init__(self, found: Site, dsn: str, clock: Path, sessions: int) -> None:
        """`sessions`: how many are made for each kind of replay. `clock`: the file that shifts the servers' clock."""
        self._site, self._dsn, self._clock, self._sessions = found, dsn, clock, sessions

    async def run(self, between: str) -> int:
        """Return the number of taken replays. `between`: what happens after the rotations."""
        made = [self._site.codec.encode(token) for token, _, _ in await sign_in(self._dsn, self._sessions)]
        children = [await self._redeem(await self._redeem(token)) for token in made]
        assert all(children)
        if between == "restart":
            for server in self._site.servers:
                server.kill()
                server.start()
                await asyncio.to_thread(server.wait_until_ready)
        elif between == "clock set back":
            self._clock.write_text("-60")
        taken = [await self._redeem(token, at=1) for token in made]
        # Each replay has revoked its session, so the newest token is refused as well.
        alive = [await self._redeem(child) for child in children]
        self._clock.write_text("0")
        return sum(map(bool, taken + alive))

    async def _redeem(self, text: str, at: int = 0) -> str:
        connection = Connection(self._site.ports[at])
        form = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": text}
        answer = await connection.ask("POST", "/token", form)
        connection.close()
        assert answer.status in {200, 400}, answer
        return str(answer.members.get("refresh_token", ""))


@pytest.mark.timeout(170)
@pytest.mark.parametrize("sessions", [20, pytest.param(200, marks=pytest.mark.long)])
def test_a_replay_is_refused_after_a_restart_in_the_same_second_and_when_the_clock_was_set_back(
    database: DatabaseForTests, tmp_path: Path, sessions: int
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    taken = {}
    with site(tmp_path, database.dsn(), command=FORKED_WITH_SHIFTED_CLOCK, AUTHMINT_TEST_CLOCK=str(clock)) as found:
        replays = Replays(found, database.dsn(), clock, sessions)
        for between in ("nothing", "restart", "clock set back"):
            taken[between] = asyncio.run(replays.run(between))
    sys.stdout.write(json.dumps({"sessions_of_each": sessions, "replays_taken": taken}) + "\n")
    assert {"nothing": 0, "restart": 0, "clock set back": 0} == taken
