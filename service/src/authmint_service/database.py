"""The one way to PostgreSQL: a pool with deadlines, whose failures are all raised as DatabaseUnavailable.

Statements are in the stores, beside their nouns, and name the schema `authmint` with every table. Most store methods are one
statement; `transaction` is for the few that are two.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import asyncpg

from authmint_service.database_errors import translate
from authmint_service.embedded_postgres import embedded_postgres
from authmint_service.errors import DatabaseUnavailable
from authmint_service.settings import DatabaseSettings

SCHEMA = "authmint"
SERVER_SETTINGS = {"application_name": "authmint"}
CONNECT_SECONDS = 3.0
ACQUIRE_SECONDS = RELEASE_SECONDS = 1.0
STATEMENT_SECONDS = 5.0
MAX_RETRIES_AFTER_ALTER = 3
"""How often a statement is repeated because its tables were altered."""

T = TypeVar("T")
Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class Database:
    """A pool that opens connections when they are needed, so that the service starts while PostgreSQL is unavailable."""

    def __init__(self, *, size: int, statement_cache: int = 100) -> None:
        """`size`: connections, at most. `statement_cache`: prepared statements for each of them; 0 behind PgBouncer."""
        self._size, self._statement_cache = size, statement_cache
        self._open_pool: asyncpg.Pool[asyncpg.Record] | None = None
        self.claimed = 0
        self.waits = self.wait_timeouts = 0
        """How often all connections were in use when one more was needed, and how often none was free in time."""

    @asynccontextmanager
    async def open(self, dsn: str) -> AsyncIterator[None]:
        """Use the database at `dsn` inside the block. Connect with the first statement."""
        self._open_pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=self._size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=self._statement_cache,
            server_settings=SERVER_SETTINGS,
            reset=_skip_reset,
        )
        try:
            yield
        finally:
            pool, self._open_pool = self._open_pool, None
            # Statements that are under way may finish, within the deadline.
            try:
                await asyncio.wait_for(pool.close(), timeout=STATEMENT_SECONDS)
            except TimeoutError:
                pool.terminate()

    @property
    def size(self) -> int:
        """Connections, at most."""
        return self._size

    @property
    def open_connections(self) -> int:
        return 0 if self._open_pool is None else self._open_pool.get_size()

    @property
    def idle_connections(self) -> int:
        return 0 if self._open_pool is None else self._open_pool.get_idle_size()

    @property
    def is_full(self) -> bool:
        """Whether the next statement has to wait for a connection."""
        return self.claimed >= self._size

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._open_pool is None:
            raise DatabaseUnavailable("not open")
        return self._open_pool

    async def fetch_row(self, statement: str, *values: object) -> asyncpg.Record | None:
        """Return the first row. Raise DatabaseUnavailable or SchemaOutdated, as the other methods do."""
        async with self._connection() as connection:
            return await _retry_after_alter(lambda: connection.fetchrow(statement, *values))

    async def fetch_all(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        async with self._connection() as connection:
            return await _retry_after_alter(lambda: connection.fetch(statement, *values))

    async def fetch_value(self, statement: str, *values: object) -> Any:
        async with self._connection() as connection:
            return await _retry_after_alter(lambda: connection.fetchval(statement, *values))

    async def execute(self, statement: str, *values: object) -> None:
        async with self._connection() as connection:
            await _retry_after_alter(lambda: connection.execute(statement, *values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Provide one connection inside one transaction: either all of its statements take effect, or none."""
        async with self._connection() as connection, connection.transaction():
            yield connection

    def _connection(self) -> "_ClaimedConnection":
        return _ClaimedConnection(self)


class _ClaimedConnection:
    """A connection of the pool for one block, whose failures are raised as DatabaseUnavailable or SchemaOutdated.

    A class, as every statement needs one: a generator with `asynccontextmanager` costs several microseconds more.
    """

    __slots__ = ("_connection", "_database", "_pool")

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Connection:
        database = self._database
        database.waits += database.is_full
        database.claimed += 1
        try:
            self._pool = database.pool
            async with asyncio.timeout(ACQUIRE_SECONDS):
                self._connection = await self._pool.acquire()
        except BaseException as error:
            database.claimed -= 1
            database.wait_timeouts += isinstance(error, TimeoutError)
            await self._translate(error, is_connecting=True)
            raise
        return self._connection

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        try:
            await self._pool.release(self._connection, timeout=RELEASE_SECONDS)
        except Exception as failure:
            # A cancellation is never replaced: who has cancelled waits for the end of the task. The connection is closed.
            if error is None or isinstance(error, Exception):
                await self._translate(failure)
                raise
        finally:
            self._database.claimed -= 1
        if error is not None:
            await self._translate(error)

    async def _translate(self, error: BaseException, *, is_connecting: bool = False) -> None:
        """Raise what callers expect instead of a failure of the database. Return for any other error."""
        expected = translate(error, is_connecting=is_connecting)
        if expected is None:
            return
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            # After a failover the old connections still lead to the server that is a replica now.
            await self._pool.expire_connections()
        raise expected from error


async def _retry_after_alter(execute: Callable[[], Awaitable[T]]) -> T:
    """Repeat a statement whose tables were altered twice in a row: asyncpg itself repeats it once. It has done nothing yet."""
    for _ in range(MAX_RETRIES_AFTER_ALTER):
        try:
            return await execute()
        except asyncpg.InvalidCachedStatementError:
            continue
    return await execute()


async def _skip_reset(_: object) -> None:
    """Skip the statement that resets the session of a connection before it is used again: it would double the round trips.

    Nothing is set in sessions here, as transaction pooling would lose it. An open transaction is rolled back all the same.
    """


async def connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Return one connection that belongs to no pool. Raise DatabaseUnavailable."""
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, server_settings=SERVER_SETTINGS)
    except Exception as error:
        expected = translate(error, is_connecting=True)
        if expected is None:
            raise
        raise expected from error


def database_url(settings: DatabaseSettings, *, create: bool = True) -> AbstractAsyncContextManager[str]:
    """Provide the DSN of the configured database, or of the embedded one, which runs inside the block. Raise SettingsError.

    `create`: make the embedded one if there is none.
    """
    settings.check_database()
    if settings.database_url is not None:
        return _configured(settings.connection.dsn)
    return embedded_postgres(settings.data_dir, create=create)


@asynccontextmanager
async def _configured(dsn: str) -> AsyncIterator[str]:
    yield dsn


def to_datetime(seconds: float) -> datetime:
    """Convert seconds since the epoch to the type that asyncpg takes for `timestamptz`."""
    return datetime.fromtimestamp(seconds, UTC)


async def ask_time(database: Database) -> float:
    """Return the database's time, seconds since the epoch. Raise DatabaseUnavailable."""
    return float(await database.fetch_value("SELECT extract(epoch FROM clock_timestamp())"))
