"""Whether this process can serve, part by part: a word for each, and what to do about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.database import Database
from service.database_clock import DatabaseClock
from service.draining import Draining
from service.errors import DatabaseUnavailable, SchemaBehind
from service.migrations import Schema, compare, current

MIGRATE = "The database has {}. Run: mintmark-service migrate"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part."""

    word: str = "ok"
    advice: str | None = None
    """A sentence for people: what is the matter, and what to do."""
    keeps_from_serving: bool = False
    version: str | None = None


AWAY = Finding(
    "unreachable", "The database does not answer. Look at it, and at MINTMARK_DATABASE_URL.", keeps_from_serving=True
)
FULL = Finding(
    "full",
    "All connections are in use. Look for slow statements; MINTMARK_DATABASE_POOL_SIZE allows more.",
    keeps_from_serving=True,
)
NOT_ASKED = Finding("unknown")
STOPPING = Finding("stopping", "The process was told to stop.", keeps_from_serving=True)


class Readiness:
    """Asks the parts of one process."""

    def __init__(
        self, database: Database, draining: Draining, why_no_key: Callable[[], str | None], clock: DatabaseClock
    ) -> None:
        """`why_no_key`: a sentence while nothing can be signed."""
        self._database, self._draining, self._why_no_key, self._clock = database, draining, why_no_key, clock

    async def look(self) -> Mapping[str, Finding]:
        """By the name of the part, what matters most first."""
        pool, schema = await self._database_and_schema()
        missing, complaint = self._why_no_key(), self._clock.complaint
        return {
            "process": STOPPING if self._draining.has_begun else Finding(),
            "pool": pool,
            "schema": schema,
            "keys": Finding() if missing is None else Finding("missing", missing, keeps_from_serving=True),
            # Tokens are good as long as the leeway covers it; and it may be the database's clock that is wrong.
            "clock": Finding() if complaint is None else Finding("off", complaint),
        }

    async def _database_and_schema(self) -> tuple[Finding, Finding]:
        try:
            return Finding(), _judge(await current(self._database))
        except SchemaBehind:
            return Finding(), Finding("missing", MIGRATE.format("no schema yet"), keeps_from_serving=True)
        except DatabaseUnavailable:
            return (FULL if self._database.is_full else AWAY), NOT_ASKED


def _judge(revision: str | None) -> Finding:
    match compare(revision):
        case Schema.CURRENT:
            return Finding(version=revision)
        case Schema.AHEAD:
            said = "The database has a newer schema than this program knows, as it has while a new version is rolled out."
            return Finding("ahead", said, version=revision)
        case Schema.BEHIND:
            return Finding("behind", MIGRATE.format("an older schema"), keeps_from_serving=True, version=revision)
