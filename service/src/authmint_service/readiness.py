"""Whether this process can serve: a status for each part, and a message that says what to do."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from authmint_service.database import Database
from authmint_service.database_clock import DatabaseClock
from authmint_service.draining import Draining
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated, Unavailability
from authmint_service.migrations import Schema, compare, current

MIGRATE = "The database has {}. Run: authmint-service migrate"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The state of one part."""

    status: str = "ok"
    message: str | None = None
    """For people: what is wrong, and what to do."""
    blocks_serving: bool = False
    version: str | None = None
    """Of the schema in the database."""


UNAVAILABLE = {
    kind: CheckResult(kind.value, message, blocks_serving=True)
    for kind, message in (
        (Unavailability.UNREACHABLE, "The database does not answer. Check it, and AUTHMINT_DATABASE_URL."),
        (
            Unavailability.EXHAUSTED,
            "PostgreSQL has no connection left. Raise its max_connections, or lower AUTHMINT_DATABASE_POOL_SIZE.",
        ),
        (Unavailability.READ_ONLY, "The database takes no writes: it is a replica, or was closed for them."),
        (Unavailability.REFUSED, "The database refuses the login, or a right that is needed. The log has its words."),
        (Unavailability.FAILED, "The database failed at the last write, as it does with a full disk. Its log says why."),
    )
}
"""For people who may not see addresses and names: the database's own words are in the log."""
EXHAUSTED = CheckResult(
    "exhausted",
    "All connections are in use. Check for slow statements; AUTHMINT_DATABASE_POOL_SIZE allows more.",
    blocks_serving=True,
)
NOT_CHECKED = CheckResult("unknown")
STOPPING = CheckResult("stopping", "The process received a signal to stop.", blocks_serving=True)


class Readiness:
    """Checks the parts of one process."""

    def __init__(
        self,
        database: Database,
        draining: Draining,
        clock: DatabaseClock,
        checks: Mapping[str, Callable[[], CheckResult]],
        *,
        has_write_failed: Callable[[], bool],
    ) -> None:
        """`checks`: those of other parts, by their names; `has_write_failed`: whether the database failed at the last write."""
        self._database, self._draining, self._clock, self._checks = database, draining, clock, checks
        self._has_write_failed = has_write_failed

    async def check(self) -> Mapping[str, CheckResult]:
        """Return the result of each part by its name, the most important part first."""
        database, schema = await self._check_database()
        warning = self._clock.warning
        return {
            "process": STOPPING if self._draining.has_begun else CheckResult(),
            "database": database,
            "schema": schema,
            **{name: check() for name, check in self._checks.items()},
            # Tokens are good as long as the leeway covers the offset, and the database's clock may be the wrong one.
            "clock": CheckResult() if warning is None else CheckResult("skewed", warning),
        }

    async def _check_database(self) -> tuple[CheckResult, CheckResult]:
        schema = NOT_CHECKED
        try:
            schema = await self._check_schema()
            with suppress(SchemaOutdated):
                await self._database.fetch_value(PROVE_RIGHT_TO_WRITE)
        except DatabaseUnavailable as error:
            return (EXHAUSTED if self._database.is_full else UNAVAILABLE[error.kind]), schema
        return (UNAVAILABLE[Unavailability.FAILED] if self._has_write_failed() else CheckResult()), schema

    async def _check_schema(self) -> CheckResult:
        try:
            return _check_revision(await current(self._database))
        except SchemaOutdated:
            return CheckResult("missing", MIGRATE.format("no schema yet"), blocks_serving=True)


# What a sign-in and a refresh write, without a row: PostgreSQL checks the rights, and that writes are allowed, before it looks
# for rows. So it costs neither a lock on a row nor a byte of its log.
PROVE_RIGHT_TO_WRITE = """
    WITH started AS (INSERT INTO authmint.sessions (handle) SELECT handle FROM authmint.sessions WHERE false),
         refreshed AS (UPDATE authmint.sessions SET generation = generation WHERE false),
         recorded AS (INSERT INTO authmint.events (kind) SELECT kind FROM authmint.events WHERE false)
    SELECT true
"""


def _check_revision(revision: str | None) -> CheckResult:
    match compare(revision):
        case Schema.CURRENT:
            return CheckResult(version=revision)
        case Schema.AHEAD:
            message = "The database has a newer schema than this program knows, as it has while a new version is rolled out."
            return CheckResult("ahead", message, version=revision)
        case Schema.BEHIND:
            return CheckResult("outdated", MIGRATE.format("an older schema"), blocks_serving=True, version=revision)
