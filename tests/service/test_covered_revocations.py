"""Many ended sessions of a person become one entry of the revocation list, and nobody is refused more than once for it."""

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from authmint import Principal
from authmint.claims import read_claims
from authmint.jose import Parser, read_payload
from authmint.revocation_list import MAX_BYTES, STALE_SECONDS, RevocationList, accept_list
from authmint.revoked_entries import Below, entry_of
from authmint_service.change_feed import ChangeKind
from authmint_service.clients import Client
from authmint_service.database import to_datetime
from authmint_service.revocations import RevocationCovering, covering
from authmint_service.revocations.store import LISTED_AFTER_SECONDS
from tests.service.conftest import Clock, Service, StartService, migrated_database, record_change
from tests.service.devices import SignedIn, sign_in
from tests.service.test_revocation_list import fetch_list, published, session_of

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]


@pytest.fixture
async def alone(start_service: StartService, server_dsn: str) -> AsyncIterator[Service]:
    """A service on a database where no other test disables accounts, and no other process covers sessions."""
    async with migrated_database(server_dsn) as dsn:
        yield await start_service(at=dsn)


async def end(service: Service, one: SignedIn, count: int) -> list[str]:
    """Sign in and out again and again. Return the access tokens."""
    tokens = []
    for _ in range(count):
        other = await sign_in(service, one.user, one.client)
        await other.sign_out()
        tokens.append(other.access)
    return tokens


async def cover(service: Service) -> None:
    await RevocationCovering(service.database, service.clock).run()


def sessions_in(known: RevocationList, tokens: list[str]) -> int:
    return sum(entry_of(session_of(token)) in known.entries.sessions for token in tokens)


@pytest.mark.parametrize(("count", "is_covered"), [(16, False), (17, True)])
async def test_seventeen_ended_sessions_become_one_entry_and_sixteen_do_not(
    alone: Service, count: int, *, is_covered: bool
) -> None:
    service = alone
    one, other = await sign_in(service), await sign_in(service)
    ended, of_other = await end(service, one, count), await end(service, other, 2)
    await cover(service)
    # Until the entry of the account is listed, each session has its own.
    await service.app.state.revocation_list.read()
    known = await fetch_list(service)
    assert (count, False) == (sessions_in(known, ended), one.user.id in known.entries.below.accounts)
    known = await published(service)
    assert (0 if is_covered else count, 2) == (sessions_in(known, ended), sessions_in(known, of_other))
    assert is_covered == (one.user.id in known.entries.below.accounts)
    assert all(known.entries.revokes(principal_of(token)) for token in ended)


def principal_of(token: str) -> Principal:
    """Return the content of a token, revoked or not."""
    members = read_payload(Parser().parse(token).payload)
    return Principal.from_claims(read_claims(members), members)


async def test_a_process_that_starts_lists_the_entry_and_not_the_sessions(server_dsn: str, start_service: StartService) -> None:
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn)
        one = await sign_in(service)
        ended = await end(service, one, 20)
        await cover(service)
        await published(service)
        another = await published(await start_service(at=dsn, clock=service.clock))
        # The service's own task may have covered them as well, with a change of its own.
        first = await published(service)
        assert first.entries == another.entries
        assert (0, {one.user.id}) == (sessions_in(first, ended), set(first.entries.below.accounts))


async def test_the_other_sessions_of_the_person_are_refused_once_and_good_after_a_refresh(service: Service) -> None:
    one = await sign_in(service)
    await end(service, one, 17)
    await cover(service)
    known = await published(service)
    assert known.entries.revokes(principal_of(one.access))
    assert 401 == (await one.ask("GET", "/account/v1/sessions")).status_code
    answer = await service.refresh(one.client, one.refresh)
    assert 200 == answer.status_code
    assert not known.entries.revokes(principal_of(answer.json()["access_token"]))
    # What ends later has entries of its own again, and covering it is another change.
    await end(service, one, 3)
    await cover(service)
    later = (await published(service)).entries.below.accounts
    assert known.entries.below.accounts[one.user.id] == later[one.user.id]


async def test_what_is_not_needed_any_more_is_not_counted(alone: Service) -> None:
    service = alone
    one = await sign_in(service)
    await end(service, one, 16)
    service.clock.now += 661
    await end(service, one, 16)
    await cover(service)
    changes = "SELECT count(*) FROM authmint.changes WHERE kind = 'account' AND name = $1"
    assert 0 == await service.database.fetch_value(changes, one.user.id)


async def test_too_many_accounts_become_one_entry_of_all(
    server_dsn: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authmint_service.revocations.covering.MAX_ACCOUNTS", 3)
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn)
        names = [str(uuid.uuid4()) for _ in range(4)]
        for number in (3, 1):
            await record_change(service.database, ChangeKind.ACCOUNT, *names[:number])
            await cover(service)
            assert names[:3] == sorted((await published(service)).entries.below.accounts, key=names.index)
        await record_change(service.database, ChangeKind.ACCOUNT, names[3])
        await cover(service)
        below = (await published(service)).entries.below
        assert (True, {}) == (below.all is not None, below.accounts)
        # It counts from there.
        await cover(service)
        assert 1 == await service.database.fetch_value("SELECT count(*) FROM authmint.changes WHERE kind = 'all'")


@pytest.mark.parametrize(("count", "is_covered"), [(3, False), (4, True)])
async def test_too_many_revoked_tokens_of_a_service_become_one_entry(
    alone: Service, secret: str, monkeypatch: pytest.MonkeyPatch, count: int, *, is_covered: bool
) -> None:
    """Who has the secret of one service could fill the list for all, as one person could with sessions."""
    monkeypatch.setattr(covering, "MAX_TOKENS", 3)
    service = alone
    robot, other = await service.add_client(secret), await service.add_client(secret)

    async def token_of(client: Client) -> str:
        answer = await service.token(grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
        return str(answer.json()["access_token"])

    async def revoke(client: Client, token: str) -> None:
        form = {"client_id": client.client_id, "client_secret": secret, "token": token}
        assert 200 == (await service.http.post("/revoke", data=form)).status_code

    good = await token_of(robot)
    ended, of_other = [await token_of(robot) for _ in range(count)], await token_of(other)
    for token in ended:
        await revoke(robot, token)
    await revoke(other, of_other)
    before = await published(service)
    await cover(service)
    # Until the entry of the client is listed, each token has its own.
    await service.app.state.revocation_list.read()
    assert count + 1 == len((await fetch_list(service)).entries.tokens)
    known = await published(service)
    assert (1 if is_covered else count + 1) == len(known.entries.tokens)
    assert is_covered == (robot.client_id in known.entries.below.clients)
    assert all(known.entries.revokes(principal_of(token)) for token in (*ended, of_other))
    # The others of the service are refused once.
    assert is_covered == known.entries.revokes(principal_of(good))
    await service.read_changes()
    assert not known.entries.revokes(principal_of(await token_of(robot)))
    # A follower that adds what is new has the same, and so has a process that starts.
    delta = await fetch_list(service, since=before.serial)
    assert all(accept_list(before, delta, service.clock()).entries.revokes(principal_of(token)) for token in ended)
    await cover(service)
    assert known.entries == (await published(service)).entries


def test_a_number_for_all_tokens_makes_smaller_ones_needless() -> None:
    now = 1_800_000_000
    n = now * 1000
    below = Below({"a": n - 5, "b": n, "c": n + 1}, {"d": n - 1}, {"s": n + 2}, n)
    assert Below({"c": n + 1}, {}, {"s": n + 2}, n) == below.without_ended(now)


class RealClock(Clock):
    """The computer's own."""

    def __call__(self) -> float:
        return time.time()

    async def ask(self) -> float:
        return time.time()


@dataclass
class Flood:
    """Ends sessions of many people at a steady rate, and follows the list all the while."""

    service: Service
    people: int
    ends: int
    seconds: float
    accounts: list[str] = field(default_factory=list)
    most_bytes: int = 0
    most_entries: int = 0
    oldest: float = 0.0
    known: RevocationList | None = None
    refused: dict[str, int] = field(default_factory=dict)

    async def prepare(self) -> None:
        self.accounts = [str(uuid.uuid4()) for _ in range(self.people)]
        statement = "INSERT INTO authmint.accounts (id, created_at) SELECT unnest($1::uuid[]), now()"
        await self.service.database.execute(statement, self.accounts)

    # A sign-in and its end, as the service writes them.
    _END = """
        INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences, started_at, rotated_at,
                                       idle_expires_at, expires_at, tokens_until, revoked_at, end_cause)
        SELECT uuid_send(gen_random_uuid()), gen_random_uuid(), account, $2, '{}', '{}', $3::timestamptz, $3, $3, $3,
               $3::timestamptz + interval '300 seconds', $3, 'signed_out'
          FROM unnest($1::uuid[]) AS account
    """

    async def end_sessions(self, client_id: str) -> None:
        began, done = time.monotonic(), 0
        while done < self.ends:
            due = min(self.ends, int(self.ends * (time.monotonic() - began) / self.seconds) + 1)
            chosen = random.choices(self.accounts, k=due - done)
            await self.service.database.execute(self._END, chosen, client_id, to_datetime(time.time()))
            done = due
            await asyncio.sleep(0.05)

    async def follow(self, good: SignedIn) -> None:
        """Follow as the library does; a session that lives refreshes whenever its token is refused."""
        token, refused = good.access, 0
        while True:
            since = {} if self.known is None else {"since": self.known.serial, "wait": 1}
            try:
                self.known = accept_list(self.known, await fetch_list(self.service, **since), time.time())
            except AssertionError:
                # On a busy computer a reading may take so long that the service says 503: a follower asks again.
                await asyncio.sleep(1)
            assert self.known is not None
            self.oldest = max(self.oldest, time.time() - self.known.issued_at)
            if self.known.entries.revokes(principal_of(token)):
                refused += 1
                answer = (await self.service.refresh(good.client, good.refresh)).json()
                token, good.refresh = answer["access_token"], answer["refresh_token"]
                assert not self.known.entries.revokes(principal_of(token)), "refused after its refresh"
            self.refused[good.user.id] = refused

    async def measure(self) -> None:
        while True:
            answer = await self.service.http.get("/revocation-list")
            self.most_bytes = max(self.most_bytes, len(answer.content))
            self.most_entries = max(self.most_entries, self.service.app.state.revocation_list.size)
            await asyncio.sleep(self.seconds / 60)


async def flood(service: Service, people: int, ends: int, seconds: float) -> dict[str, Any]:
    found = Flood(service, people, ends, seconds)
    await found.prepare()
    good = await sign_in(service)
    # The person who is signed in is one of those whose sessions end.
    found.accounts[0] = good.user.id
    background = [asyncio.create_task(found.follow(good)), asyncio.create_task(found.measure())]
    try:
        await found.end_sessions(good.client.client_id)
        # The last of them are covered within two runs, and their change is listed then.
        await asyncio.sleep(2 * covering.EVERY_SECONDS + LISTED_AFTER_SECONDS + 2)
        assert not any(task.done() for task in background), [task for task in background if task.done()]
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    entries = (await published(service)).entries
    left = "SELECT max(number) FROM (SELECT count(*) AS number FROM authmint.sessions WHERE revoked_at IS NOT NULL"
    left += " AND covered_by IS NULL GROUP BY account_id) AS counted"
    return {
        "ended": ends, "people": people, "seconds": seconds, "most_bytes": found.most_bytes, "most_entries": found.most_entries,
        "entries_at_the_end": len(entries), "sessions_at_the_end": len(entries.sessions),
        "most_of_one_person": await service.database.fetch_value(left), "refused": found.refused[good.user.id],
        "oldest_list_seconds": round(found.oldest, 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("people", "ends", "seconds"),
    [(20, 800, 2.0), pytest.param(10_000, 1_000_000, 600.0, marks=[pytest.mark.long, pytest.mark.timeout(1200)])],
)
async def test_a_flood_of_ended_sessions_stays_within_the_list_and_refuses_no_good_token_twice(
    server_dsn: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch, people: int, ends: int, seconds: float
) -> None:
    if people < 100:
        monkeypatch.setattr(covering, "EVERY_SECONDS", 1.0)
    async with migrated_database(server_dsn) as dsn:
        service = await start_service(at=dsn, clock=RealClock())
        results = await flood(service, people, ends, seconds)
        sys.stdout.write(json.dumps(results) + "\n")
        assert results["most_bytes"] <= MAX_BYTES
        assert results["oldest_list_seconds"] <= STALE_SECONDS
        assert results["most_of_one_person"] <= 16
        assert 1 <= results["refused"]
