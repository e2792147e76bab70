"""Tables with many sessions, made by the database itself, and a day of refreshes with a clock that a test sets."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence

import asyncpg

from authmint_service.database import Database
from authmint_service.secret_keys import SecretKeys
from authmint_service.sessions import (
    RefreshRequest,
    RefreshToken,
    RefreshTokenCodec,
    RotationPlaces,
    RotationStore,
    SessionLifetimes,
    Sessions,
    SessionStore,
)
from tests.actors import NO_REQUEST, OPERATOR

LIMITS = SessionLifetimes(grace=30, idle=14 * 86_400, absolute=90 * 86_400, access_token=300)
EVERY_SECONDS = 300
"""The lifetime of an access token: an active client refreshes as often."""

PLACES = RotationPlaces(SecretKeys({1: bytes(32)}), has_addresses=False)

REQUEST = RefreshRequest(client_id="spa", scopes=frozenset(), audiences=(), actor=OPERATOR, source=NO_REQUEST)
"""The request of the client whose sessions `fill` makes."""


async def fill(dsn: str, count: int, *, over: int = 0) -> None:
    """Add a thousand accounts, `count` live sessions, and `over` more that expired two days ago. See `first_token_of`."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            """
            WITH account AS (INSERT INTO authmint.accounts (id, created_at)
                             SELECT gen_random_uuid(), now() FROM generate_series(1, 1000)
                             RETURNING id)
            INSERT INTO authmint.account_names (prepared, account_id, kind, text, is_primary)
            SELECT 'person-' || row_number() OVER (), id, 'username', 'person-' || row_number() OVER (), true FROM account
            """
        )
        await connection.execute(
            """
            INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences, started_at, rotated_at,
                                           idle_expires_at, expires_at)
            SELECT substring(sha256(convert_to('session ' || n, 'UTF8')) FOR 20), gen_random_uuid(), person.id, 'spa',
                   '{orders:read}', '{orders}', now(), now(),
                   now() + CASE WHEN n < $1::bigint THEN interval '14 days' ELSE - interval '2 days' END,
                   now() + interval '90 days'
              FROM generate_series(0, $1::bigint + $2::bigint - 1) AS n
              JOIN (SELECT account_id AS id, row_number() OVER () - 1 AS number
                      FROM authmint.account_names WHERE prepared LIKE 'person-%') AS person
                ON person.number = n % 1000
            """,
            count, over, timeout=3600,
        )  # fmt: skip
        await connection.execute("ANALYZE authmint.sessions")
    finally:
        await connection.close()


def first_token_of(number: int) -> RefreshToken:
    """Return the first token of a session that `fill` has made."""
    return RefreshToken(1, hashlib.sha256(f"session {number}".encode()).digest()[:20], 0)


async def size_of(database: Database) -> tuple[int, int]:
    """Return the size of the table of sessions with its indexes, bytes, and the number of sessions."""
    row = await database.fetch_row(
        "SELECT pg_total_relation_size('authmint.sessions') AS bytes, count(*) AS sessions FROM authmint.sessions"
    )
    assert row is not None
    return row["bytes"], row["sessions"]


class SettableClock:
    """A clock that a test sets, seconds since the epoch."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def refresh_for_a_day(
    database: Database, codec: RefreshTokenCodec, tokens: Sequence[str], clock: SettableClock, *, at_once: int = 4,
    after_each_round: Callable[[], object] = lambda: None,
) -> list[str]:  # fmt: skip
    """Refresh each session every five minutes for 24 hours of `clock`. Return the tokens that are current then."""
    sessions = Sessions(SessionStore(database, LIMITS), RotationStore(database, LIMITS), codec, PLACES, clock)
    current = list(tokens)

    async def refresh(numbers: range) -> None:
        for number in numbers:
            current[number] = (await sessions.redeem(current[number], REQUEST)).refresh_token

    for _ in range(86_400 // EVERY_SECONDS):
        clock.now += EVERY_SECONDS
        await asyncio.gather(*(refresh(range(share, len(current), at_once)) for share in range(at_once)))
        after_each_round()
    return current
