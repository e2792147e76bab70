"""Password hashes: Argon2id (RFC 9106; OWASP's parameters), computed in a bounded pool of threads. The only owner of passlib.

A hash takes 19 MiB and some ten milliseconds of a core. Unbounded, a crowd that signs in takes all memory and starves
everything else; so a few are computed at a time, a limited number wait, and the rest are told to come back.
"""

import asyncio
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from passlib.context import CryptContext

from authmint.errors import TemporarilyUnavailable

MEMORY_KIB, ROUNDS, LANES = 19 * 1024, 2, 1
RETRY_AFTER = 2
NICE = 10
"""Of 0, as urgent as anything else, to 19, at which other programs on the machine would leave a sign-in nothing."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password was right, and, if its hash should be replaced by today's, the new one."""

    is_right: bool
    replacement: str | None = None


def _lower_thread_priority() -> None:
    """Lets everything else go first: while many sign in, hashes take all cores, and a refresh waits for none of them."""
    # On Linux, and there alone, a thread has a priority of its own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


@cache
def _context(memory_kib: int, rounds: int) -> CryptContext:
    # Other schemes are read, so that accounts can be brought along, and never written.
    return CryptContext(
        schemes=["argon2", "bcrypt", "pbkdf2_sha256", "pbkdf2_sha512", "sha512_crypt"],
        deprecated="auto",
        argon2__type="ID",
        argon2__memory_cost=memory_kib,
        argon2__rounds=rounds,
        argon2__parallelism=LANES,
        bcrypt__truncate_error=True,
    )


@cache
def _dummy_hash(memory_kib: int, rounds: int) -> str:
    """Return the hash of a password that no one has, made once for each cost.

    It has the live parameters, so that a sign-in with an unknown name takes as long as one with a known name.
    """
    return str(_context(memory_kib, rounds).hash(secrets.token_urlsafe(24)))


class PasswordHasher:
    """Hashes and verifies, `workers` at a time, with at most `queue` waiting. Close it when done."""

    def __init__(self, *, workers: int, queue: int, memory_kib: int = MEMORY_KIB, rounds: int = ROUNDS) -> None:
        self._context = _context(memory_kib, rounds)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="password hashing", initializer=_lower_thread_priority)
        self.permits, self._places = workers, workers + queue
        self._all_places = self._places
        self.refused = 0
        """How many found no place."""
        self._dummy = _dummy_hash(memory_kib, rounds)

    @property
    def in_flight(self) -> int:
        """Hashes that are being computed."""
        return min(self.permits, self._all_places - self._places)

    @property
    def waiting(self) -> int:
        return self._all_places - self._places - self.in_flight

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Raises TemporarilyUnavailable when too many wait already, as `verify` does."""
        return await self._run(lambda: str(self._context.hash(password)))

    async def verify(self, password: str, known: str | None) -> Verdict:
        """Compares `password` with the hash `known`; without one it takes the same time, and the answer is no."""
        return await self._run(lambda: self._verify(password, known))

    def check_capacity(self) -> None:
        """Raises TemporarilyUnavailable when too many wait already: before any other work is done for nothing."""
        if self._places <= 0:
            self.refused += 1
            raise TemporarilyUnavailable("Too many sign-ins at once. Try again in a moment.", retry_after=RETRY_AFTER)

    def _verify(self, password: str, known: str | None) -> Verdict:
        stored = self._dummy if known is None else known
        with suppress(ValueError):
            is_right, replacement = self._context.verify_and_update(password, stored)
            if is_right or not self._context.needs_update(stored):
                return Verdict(is_right and known is not None, replacement)
        # A stored hash that nobody can read, a password that its scheme cannot take, or a hash that may cost less than today's.
        self._context.verify(password, self._dummy)
        return Verdict(is_right=False)

    async def _run(self, work: Callable[[], T]) -> T:
        self.check_capacity()
        self._places -= 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The place is free when the hash has ended, not when its caller has given up waiting for it.
        future.add_done_callback(self._free_place)
        return await asyncio.shield(future)

    def _free_place(self, ended: "asyncio.Future[T]") -> None:
        self._places += 1
        if not ended.cancelled():
            ended.exception()
