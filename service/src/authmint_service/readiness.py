"""Whether this process can serve: a status for each part, and a message that says what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from authmint_service.database import Database
from authmint_service.database_clock import DatabaseClock
from authmint_service.draining import Draining
from authmint_service.errors import DatabaseUnavailable, SchemaOutdated
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


UNREACHABLE = CheckResult(
    "unreachable", "The database does not answer. Check it, and AUTHMINT_DATABASE_URL.", blocks_serving=True
)
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
        self, database: Database, draining: Draining, clock: DatabaseClock, checks: Mapping[str, Callable[[], CheckResult]]
    ) -> None:
        """`checks`: those of other parts, by their names."""
        self._database, self._draining, self._clock, self._checks = database, draining, clock, checks

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
        try:
            return CheckResult(), _check_revision(await current(self._database))
        except SchemaOutdated:
            return CheckResult(), CheckResult("missing", MIGRATE.format("no schema yet"), blocks_serving=True)
        except DatabaseUnavailable:
            return (EXHAUSTED if self._database.is_full else UNREACHABLE), NOT_CHECKED


def _check_revision(revision: str | None) -> CheckResult:
    match compare(revision):
        case Schema.CURRENT:
            return CheckResult(version=revision)
        case Schema.AHEAD:
            message = "The database has a newer schema than this program knows, as it has while a new version is rolled out."
            return CheckResult("ahead", message, version=revision)
        case Schema.BEHIND:
            return CheckResult("outdated", MIGRATE.format("an older schema"), blocks_serving=True, version=revision)
