"""How many one-time values depend on which refresh-token key, of which another key is derived for them."""

from collections.abc import Mapping

from authmint_service.database import Database, to_datetime

_COUNT = "SELECT key_id, count(*) AS values FROM authmint.one_time_tokens WHERE expires_at > $1 GROUP BY key_id"


async def count_by_key(database: Database, now: float) -> Mapping[int, int]:
    """Return the number of values that can still be used, by key id. `now`: seconds since the epoch."""
    return {row["key_id"]: row["values"] for row in await database.fetch_all(_COUNT, to_datetime(now))}
