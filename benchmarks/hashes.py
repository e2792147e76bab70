"""The ceiling of a sign-in: what the pool of hashes does for so many seconds when nothing else is asked of the process."""

import asyncio
import sys
import time

from authmint_service.passwords import PasswordHasher

WAITING = 4


async def verified_a_second(seconds: float) -> float:
    hasher, count = PasswordHasher(workers=1, queue=WAITING), 0
    known = await hasher.hash("seven green parrots in a boat")
    started = time.perf_counter()

    async def verify() -> None:
        nonlocal count
        while time.perf_counter() < started + seconds:
            await hasher.verify("seven green parrots in a boat", known)
            count += 1

    await asyncio.gather(*(verify() for _ in range(WAITING)))
    hasher.close()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(verified_a_second(float(sys.argv[1])))}\n")
