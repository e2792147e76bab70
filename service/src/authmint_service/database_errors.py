"""What a failure of PostgreSQL, or of the way to it, means: it is unavailable, its schema is another one, or we are wrong.

PostgreSQL gives each error a SQLSTATE: two characters of class, three of condition. A condition that is listed here goes before
its class, and what is in neither list is an error of ours, or one that a store expects (a name that is taken).
"""

import asyncpg

from authmint_service.errors import DatabaseUnavailable, SchemaOutdated, Unavailability

UNAVAILABLE = {
    # connection exception; some poolers use it for everything
    "08": Unavailability.UNREACHABLE,
    # read-only SQL transaction: a replica, or a database that its provider has closed for writes
    "25006": Unavailability.READ_ONLY,
    # idle-in-transaction and transaction timeout: what took too long is undone
    "25P03": Unavailability.UNREACHABLE,
    "25P04": Unavailability.UNREACHABLE,
    # prepared statement that is not there, or is there already: a pooler between
    "26000": Unavailability.REFUSED,
    "42P05": Unavailability.REFUSED,
    # invalid authorization; invalid catalog name: no such database; insufficient privilege
    "28": Unavailability.REFUSED,
    "3D": Unavailability.REFUSED,
    "42501": Unavailability.REFUSED,
    # transaction rollback: serialization failure, deadlock
    "40": Unavailability.UNREACHABLE,
    # insufficient resources: disk full, out of memory; too many connections
    "53": Unavailability.FAILED,
    "53300": Unavailability.EXHAUSTED,
    # program limit exceeded: what PostgreSQL says when it has run out of transaction ids
    "54000": Unavailability.FAILED,
    # object not in prerequisite state: in use, or its lock was not available in time
    "55": Unavailability.UNREACHABLE,
    # operator intervention: shutdown, a start that is not finished, a statement that was cancelled
    "57": Unavailability.UNREACHABLE,
    # system error; snapshot too old; configuration file error; internal error: damaged files, or a pooler that knows no other
    "58": Unavailability.FAILED,
    "72": Unavailability.FAILED,
    "F0": Unavailability.FAILED,
    "XX": Unavailability.FAILED,
}
"""By SQLSTATE, or by its class. None of these is the request's fault."""

OUTDATED = {"42P01", "42703", "3F000"}
"""Undefined table, column and schema."""

BEHIND_A_POOLER = (
    "{}; behind PgBouncer in transaction mode set AUTHMINT_DATABASE_STATEMENT_CACHE=0, and migrate with the address of "
    "PostgreSQL itself"
)


def translate(error: BaseException, *, is_connecting: bool = False) -> Exception | None:
    """Return what callers expect instead of a failure of the database, None for any other error.

    `is_connecting`: no statement was sent yet, so whatever is wrong is wrong with the server or its address.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _translate_state(error, is_connecting)
    # asyncpg raises the last one when a connection ends between two messages that belong together.
    if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return DatabaseUnavailable(words_of(error))
    if is_connecting and isinstance(error, ValueError):
        # Its text has a part of the address.
        return DatabaseUnavailable("the address cannot be read", Unavailability.REFUSED)
    return None


def _translate_state(error: asyncpg.PostgresError, is_connecting: bool) -> Exception | None:
    state = error.sqlstate or ""
    kind = UNAVAILABLE.get(state) or UNAVAILABLE.get(state[:2])
    if is_connecting and (kind is None or state[:2] == "XX"):
        kind = Unavailability.REFUSED
    if kind is not None:
        return DatabaseUnavailable(words_of(error), kind)
    return SchemaOutdated("the database has not been migrated") if state in OUTDATED else None


def words_of(error: BaseException) -> str:
    """Return what the database, or the system, says: one line without values."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    # Further lines of PostgreSQL's text are details, which may have values.
    said = str(error).partition("\n")[0] or type(error).__name__
    state = getattr(error, "sqlstate", None)
    return BEHIND_A_POOLER.format(said) if state in {"26000", "42P05"} else said
