"""The end of all one-time values: in a restored database, those are there again that were used after the backup."""

from authmint_service.database import Database


async def delete_one_time_tokens(database: Database) -> None:
    """Delete all links and codes. Raise DatabaseUnavailable."""
    await database.execute("DELETE FROM authmint.one_time_tokens")
