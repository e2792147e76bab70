"""How many signing keys are encrypted with which key-encryption key. No secret is needed to count them."""

from collections.abc import Mapping

from authmint_service.database import Database

_COUNT = "SELECT encryption_key_id, count(*) AS keys FROM authmint.signing_keys WHERE encrypted_key IS NOT NULL GROUP BY 1"


async def count_by_encryption_key(database: Database) -> Mapping[int, int]:
    """Return the number of signing keys in the database by the id of the key that encrypts them."""
    return {row["encryption_key_id"]: row["keys"] for row in await database.fetch_all(_COUNT)}
