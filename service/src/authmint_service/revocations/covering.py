"""Covers many entries of the revocation list by one, with a change like any other.

More than MAX_ENDED sessions of one account become one epoch of the account, more than MAX_TOKENS tokens of one service one
epoch of its client, and more than MAX_ACCOUNTS accounts one epoch for all tokens. So the list stays small, however many of them
end. What it costs is a refresh: the other tokens of the account or client are refused once.

A session or token names the change that covers it. It leaves the list in the reading in which that change enters it: never
before.
"""

from collections.abc import Callable

import structlog

from authmint.revoked_entries import BELOW_SECONDS
from authmint_service.change_feed import ChangeKind, change_transaction, repeat_if_undone
from authmint_service.database import Database, to_datetime
from authmint_service.revocations.store import MAX_LEEWAY_SECONDS, MAX_TOKEN_SECONDS
from authmint_service.tasks import Task

MAX_ENDED = 16
"""Sessions of one account that the list has one by one."""
MAX_TOKENS = 1000
"""Tokens of one service likewise. A service may well revoke each token when its work is done."""
MAX_ACCOUNTS = 50_000
"""Accounts that the list has one by one."""
EVERY_SECONDS = 10.0
"""Until then, a session that was ended has an entry of its own."""
OVERLAP_SECONDS = 10
"""A session may be committed so long after the time at which it ended. What is later is found with the account's next one."""
BATCH_ACCOUNTS, BATCH_ENTRIES = 50, 2000
"""In one transaction: others wait for it, and it ends within half a second or is undone."""

log = structlog.get_logger(__name__)


class RevocationCovering:
    """Finds what can be covered, and covers it."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """`clock`: the one that all processes share, seconds since the epoch."""
        self._database, self._clock = database, clock
        self._ran_at: float | None = None

    async def run(self) -> None:
        """Cover what was ended since the last run."""
        now = self._clock()
        oldest = now - MAX_TOKEN_SECONDS - MAX_LEEWAY_SECONDS
        since = oldest if self._ran_at is None else self._ran_at - OVERLAP_SECONDS
        accounts, sessions = await self._find(since, oldest, now), 0
        for first in range(0, len(accounts), BATCH_ACCOUNTS):
            covered = BATCH_ENTRIES
            # Rarely more than once: only after a time in which no process did this.
            while covered == BATCH_ENTRIES:
                covered = await self._cover(accounts[first : first + BATCH_ACCOUNTS], oldest)
                sessions += covered
        self._ran_at = now
        if accounts:
            log.info("sessions.covered", accounts=len(accounts), count=sessions)
        for client_id in await self._find_clients(now):
            covered = BATCH_ENTRIES
            while covered == BATCH_ENTRIES:
                covered = await self._cover_tokens(client_id)
            log.warning("tokens.covered", client_id=client_id)
        if await self._count_accounts(now) > MAX_ACCOUNTS:
            await self._cover_all()
            log.warning("accounts.covered", count=MAX_ACCOUNTS)

    _FIND = """
        WITH active AS (SELECT DISTINCT account_id FROM authmint.sessions WHERE revoked_at > $1 AND covered_by IS NULL)
        SELECT account_id FROM active
         WHERE $5::int < (SELECT count(*)
                       FROM (SELECT FROM authmint.sessions AS s
                              WHERE s.account_id = active.account_id AND s.revoked_at > $2 AND s.covered_by IS NULL
                                AND coalesce(s.tokens_until, s.revoked_at + $4 * interval '1 second') > $3
                              LIMIT $5::int + 1) AS ended)
    """

    async def _find(self, since: float, oldest: float, now: float) -> list[str]:
        """Return accounts of which sessions ended after `since`, and which have too many on the list."""
        rows = await self._database.fetch_all(
            self._FIND, to_datetime(since), to_datetime(oldest), to_datetime(now - MAX_LEEWAY_SECONDS), MAX_TOKEN_SECONDS,
            MAX_ENDED,
        )  # fmt: skip
        return [str(row["account_id"]) for row in rows]

    # All that the transaction sees as ended has tokens of smaller epochs alone. When the last change of the transaction is
    # listed, all of them are.
    _COVER = """
        WITH ended AS (SELECT handle FROM authmint.sessions
                        WHERE account_id = ANY($1::uuid[]) AND revoked_at > $2 AND covered_by IS NULL LIMIT $3),
             covered AS (UPDATE authmint.sessions SET covered_by = (SELECT max(n) FROM authmint.changes)
                          WHERE handle IN (SELECT handle FROM ended)
                         RETURNING id)
        SELECT count(*) FROM covered
    """

    @repeat_if_undone
    async def _cover(self, accounts: list[str], oldest: float) -> int:
        async with change_transaction(self._database) as change:
            await change.record(ChangeKind.ACCOUNT, *accounts, takes=True)
            covered = await change.connection.fetchval(self._COVER, accounts, to_datetime(oldest), BATCH_ENTRIES)
        return int(covered)

    _FIND_CLIENTS = """
        SELECT client_id FROM authmint.revoked_tokens
         WHERE covered_by IS NULL AND client_id IS NOT NULL AND expires_at > $1
         GROUP BY client_id HAVING count(*) > $2
    """

    async def _find_clients(self, now: float) -> list[str]:
        """Return clients of which too many tokens are on the list."""
        rows = await self._database.fetch_all(self._FIND_CLIENTS, to_datetime(now - MAX_LEEWAY_SECONDS), MAX_TOKENS)
        return [row["client_id"] for row in rows]

    _COVER_TOKENS = """
        WITH revoked AS (SELECT entry FROM authmint.revoked_tokens
                          WHERE client_id = $1 AND covered_by IS NULL LIMIT $2),
             covered AS (UPDATE authmint.revoked_tokens SET covered_by = (SELECT max(n) FROM authmint.changes)
                          WHERE entry IN (SELECT entry FROM revoked)
                         RETURNING entry)
        SELECT count(*) FROM covered
    """

    @repeat_if_undone
    async def _cover_tokens(self, client_id: str) -> int:
        async with change_transaction(self._database) as change:
            await change.record(ChangeKind.CLIENT, client_id, takes=True)
            return int(await change.connection.fetchval(self._COVER_TOKENS, client_id, BATCH_ENTRIES))

    _COUNT_ACCOUNTS = """
        SELECT count(DISTINCT name) FROM authmint.changes
         WHERE kind = 'account' AND takes
           AND n > greatest($1, (SELECT max(n) FROM authmint.changes WHERE kind = 'all' AND takes))
    """

    async def _count_accounts(self, now: float) -> int:
        return int(await self._database.fetch_value(self._COUNT_ACCOUNTS, int((now - BELOW_SECONDS) * 1000)))

    @repeat_if_undone
    async def _cover_all(self) -> None:
        async with change_transaction(self._database) as change:
            await change.record(ChangeKind.ALL, "", takes=True)


def covering_task(database: Database, clock: Callable[[], float]) -> Task:
    """Return the task that covers entries, in one process. Two at the same time would do no harm."""
    return Task("cover revocations", EVERY_SECONDS, RevocationCovering(database, clock).run, alone=True)
