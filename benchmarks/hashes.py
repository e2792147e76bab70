"""The baseline of a sign-in: what the pool of hashes computes when the process does nothing else."""

import asyncio
import sys
import time

from authmint_service.passwords import PasswordHasher

QUEUED = 4


async def hashes_a_second(seconds: float) -> float:
    """Return how many passwords are verified a second, measured for `seconds`."""
    hasher, count = PasswordHasher(workers=1, queue=QUEUED), 0
    known = await hasher.hash("seven green parrots in a boat")
    started = time.perf_counter()

    async def verify() -> None:
        nonlocal count
        while time.perf_counter() < started + seconds:
            await hasher.verify("seven green parrots in a boat", known)
            count += 1

    await asyncio.gather(*(verify() for _ in range(QUEUED)))
    hasher.close()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(hashes_a_second(float(sys.argv[1])))}\n")
