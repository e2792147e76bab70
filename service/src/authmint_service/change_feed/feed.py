"""Reads changes and the database's time, and says whether what is known is young enough to use cached records."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from authmint_service.change_feed.epoch import EpochReading
from authmint_service.change_feed.known import Change, ChangeKind, KnownChanges, Reading
from authmint_service.database import Database
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated

if TYPE_CHECKING:
    from authmint_service.database_clock import DatabaseClock

POLL_SECONDS = 0.5
"""From the end of one reading to the next."""
MAX_AGE_SECONDS = 5.0
"""For how long after a reading cached records are used."""
MAX_OUTAGE_SECONDS = 60.0
"""For how long after a reading a service gets tokens while the database does not answer."""
MAX_EPOCH_AGE_SECONDS = 0.75
"""The age of a reading from which a service's token is made, while the database answers. The revocation list waits for it."""
MAX_QUESTIONS = 2
"""The first may have been under way already; the second is sent after its caller came."""
DEADLINE_SECONDS = 2.0
IS_BEHIND = "the database has an older state than this process"
BEHIND = (
    "The database has an older state than this process has seen: it was restored from a backup, or it is a copy that lags. No"
    " tokens are issued. Check AUTHMINT_DATABASE_URL; after a restore, run: authmint-service after-restore"
)

seconds_since_boot: Callable[[], float] = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""The time of a clock that nobody sets, and that goes on while the computer sleeps."""


class ChangeFeed:
    """What one process knows of the changes, read from the database again and again."""

    def __init__(self, database: Database, time: "DatabaseClock", elapsed: Callable[[], float]) -> None:
        """`time`: is told the database's time at each reading; `elapsed`: seconds by a clock that is never set back."""
        self._database, self._time, self._elapsed = database, time, elapsed
        self._known = KnownChanges()
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[Reading] | None = None

    @property
    def n(self) -> int | None:
        """The authorization version at the last reading; None before the first."""
        return self._known.n

    @property
    def age(self) -> float:
        """Seconds since the question was sent that the database answered last."""
        return self._elapsed() - self._asked_at

    @property
    def is_fresh(self) -> bool:
        """Whether cached records may be used."""
        return 0 <= self._elapsed() - self._asked_at < MAX_AGE_SECONDS

    @property
    def restored(self) -> int:
        """The n of the last `after-restore`, as far as is known."""
        return self._known.restored

    @property
    def problem(self) -> str | None:
        """Why this process must issue no tokens, as a sentence for operators; None if it may."""
        return BEHIND if self._known.is_behind else None

    def observe(self, n: int) -> None:
        """Take note of the n that a statement which loaded a record has seen."""
        self._known.observe(n)

    def allows(self, kind: ChangeKind, name: str, n: int) -> bool:
        """Return whether a cached record may be used: it is current, and what is known is fresh."""
        return 0 <= self._elapsed() - self._asked_at < MAX_AGE_SECONDS and self._known.is_current(kind, name, n)

    def is_current(self, kind: ChangeKind, name: str, n: int) -> bool:
        """Return whether no later change is known of a record that was loaded by a statement which saw `n`."""
        return self._known.is_current(kind, name, n)

    def is_kind_current(self, kind: ChangeKind, n: int) -> bool:
        """Return the same for a record of all things of a kind."""
        return self._known.is_kind_current(kind, n)

    async def read(self) -> Reading:
        """Ask the database for changes, once for all who wait. Raise DatabaseUnavailable, SchemaOutdated."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="ask for changes")
            # All who wait may be cancelled before it fails.
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        return await asyncio.shield(self._asking)

    async def epoch(self) -> EpochReading:
        """Return the reading for a token that costs no statement. Raise DatabaseUnavailable, SchemaOutdated.

        It was asked for MAX_EPOCH_AGE_SECONDS ago at most. While the database does not answer, the last one serves for
        MAX_OUTAGE_SECONDS: the life of the token counts from it.
        """
        # The clock first: the reading is older rather than younger if the process stops in between.
        now = self._time.local()
        age = self._elapsed() - self._asked_at
        if not 0 <= age <= MAX_EPOCH_AGE_SECONDS:
            await self._renew()
            now = self._time.local()
            age = self._elapsed() - self._asked_at
        known = self._known
        if known.is_behind:
            raise DatabaseUnavailable(IS_BEHIND)
        assert known.n is not None, "there was a reading, and it was not behind"
        return EpochReading(known.n, now - age)

    async def _renew(self) -> None:
        """Ask until there is a young reading. Raise if there is none of the last minute either."""
        for _ in range(MAX_QUESTIONS):
            try:
                await self.read()
            except (DatabaseUnavailable, SchemaOutdated):
                if not 0 <= self.age < MAX_OUTAGE_SECONDS:
                    raise
                return
            if self.age <= MAX_EPOCH_AGE_SECONDS:
                return

    async def follow(self, n: int, *, known: int | None) -> None:
        """Learn of all changes up to `n`, which a statement saw. Raise DatabaseUnavailable, SchemaOutdated.

        `known`: `ChangeFeed.n` before that statement was sent. A database that knows less than this process is refused.
        """
        if known is not None and n < known:
            raise DatabaseUnavailable(IS_BEHIND)
        self.observe(n)
        for _ in range(MAX_QUESTIONS):
            if self._known.n is not None and self._known.n >= n:
                break
            await self.read()
        if self._known.is_behind:
            raise DatabaseUnavailable(IS_BEHIND)

    # `clock_timestamp()` is the database's time. Plain sub-selects see the snapshot of the statement.
    _ASK = """
        SELECT extract(epoch FROM clock_timestamp())::float8 AS database_time, coalesce(greatest_n.n, 0) AS greatest_n,
               EXISTS (SELECT FROM authmint.changes WHERE n = $2) AS has_expected, c.n, c.kind, c.name, c.takes
          FROM (SELECT max(n) AS n FROM authmint.changes) AS greatest_n
          LEFT JOIN authmint.changes AS c ON c.n > $1
         ORDER BY c.n
    """

    async def _ask(self) -> Reading:
        expected = self._known.expected
        asked_at, before = self._elapsed(), self._time.local()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                rows = await self._database.fetch_all(self._ASK, self._known.n, expected)
        except TimeoutError as error:
            raise DatabaseUnavailable("TimeoutError") from error
        reading = Reading(
            n=rows[0]["greatest_n"],
            has_expected=rows[0]["has_expected"],
            changes=[Change(row["n"], row["kind"], row["name"], row["takes"]) for row in rows if row["n"] is not None],
        )
        await self._time.observe(before, rows[0]["database_time"])
        self._known.apply(reading, expected)
        self._asked_at = asked_at
        return reading
