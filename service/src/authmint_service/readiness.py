"""Whether this process can serve, part by part: a word for each, and what to do about it."""

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
    """What was found of one part."""

    word: str = "ok"
    advice: str | None = None
    """A sentence for people: what is the matter, and what to do."""
    blocks_serving: bool = False
    version: str | None = None


AWAY = CheckResult(
    "unreachable", "The database does not answer. Look at it, and at AUTHMINT_DATABASE_URL.", blocks_serving=True
)
FULL = CheckResult(
    "full",
    "All connections are in use. Look for slow statements; AUTHMINT_DATABASE_POOL_SIZE allows more.",
    blocks_serving=True,
)
NOT_CHECKED = CheckResult("unknown")
STOPPING = CheckResult("stopping", "The process was told to stop.", blocks_serving=True)


class Readiness:
    """Asks the parts of one process."""

    def __init__(
        self, database: Database, draining: Draining, why_no_key: Callable[[], str | None], clock: DatabaseClock
    ) -> None:
        """`why_no_key`: a sentence while nothing can be signed."""
        self._database, self._draining, self._why_no_key, self._clock = database, draining, why_no_key, clock

    async def look(self) -> Mapping[str, CheckResult]:
        """By the name of the part, what matters most first."""
        pool, schema = await self._database_and_schema()
        missing, complaint = self._why_no_key(), self._clock.warning
        return {
            "process": STOPPING if self._draining.has_begun else CheckResult(),
            "pool": pool,
            "schema": schema,
            "keys": CheckResult() if missing is None else CheckResult("missing", missing, blocks_serving=True),
            # Tokens are good as long as the leeway covers it; and it may be the database's clock that is wrong.
            "clock": CheckResult() if complaint is None else CheckResult("off", complaint),
        }

    async def _database_and_schema(self) -> tuple[CheckResult, CheckResult]:
        try:
            return CheckResult(), _judge(await current(self._database))
        except SchemaOutdated:
            return CheckResult(), CheckResult("missing", MIGRATE.format("no schema yet"), blocks_serving=True)
        except DatabaseUnavailable:
            return (FULL if self._database.is_full else AWAY), NOT_CHECKED


def _judge(revision: str | None) -> CheckResult:
    match compare(revision):
        case Schema.CURRENT:
            return CheckResult(version=revision)
        case Schema.AHEAD:
            said = "The database has a newer schema than this program knows, as it has while a new version is rolled out."
            return CheckResult("ahead", said, version=revision)
        case Schema.BEHIND:
            return CheckResult("behind", MIGRATE.format("an older schema"), blocks_serving=True, version=revision)
