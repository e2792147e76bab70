"""A process that does one task alone, as often as it can, and writes rows in the meantime. Its lease lasts one second."""

import asyncio
import sys

from authmint_service.database import Database
from authmint_service.leases import LeaseLost, Leases
from authmint_service.tasks import Task, TaskRunner

LEASE_SECONDS = 1.0


async def main(dsn: str) -> None:
    database = Database(size=2)
    leases = Leases(database, seconds=LEASE_SECONDS)

    async def work() -> None:
        for _ in range(20):
            await asyncio.sleep(0.05)
            try:
                async with leases.transaction("work") as connection:
                    await connection.execute("INSERT INTO authmint.work VALUES ($1, clock_timestamp())", str(leases.holder))
            except LeaseLost:
                print("lost", flush=True)
                raise

    async with database.open(dsn), TaskRunner([Task("work", 0.05, work, alone=True, at_start=True)], leases).running():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
